"""The model in the page computes what PyTorch computes, and the page does what it says."""

import base64
import hashlib
import json
import random
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer

from scratchformer.text.tokenizers import UNK_ID
from scratchformer.transformer import Transformer, beam_search, greedy
from scratchformer.visualization.playground.pack import obstacle, packed, unit_of, vocabulary
from scratchformer.visualization.playground.page import SCRIPTS, write_playground

FOLDER = files("scratchformer.visualization.playground")
BOUND = 1e-4  # of logits, float32 here against double in the page
WORDS = ["abc", "Hello", "éü", "fgh ijk", "q", "abcdefghijkl", "a  b", "</s>", "zzz"]
EOS, LONGEST = 2, 12

KINDS: dict[str, dict[str, Any]] = {
    "the paper": {},
    "the default": {
        "norm_position": "pre", "activation": "swiglu", "positions": "sinusoidal",
    },
    "rotary, rms": {"norm_position": "pre", "norm": "rms", "positions": "rotary"},
    "learned, gelu": {
        "positions": "learned", "activation": "gelu", "tie_embeddings": "none",
        "embedding_norm": True, "output_bias": True,
    },
    "halves, silu": {
        "positions": "sinusoidal_halves", "activation": "silu", "scale_embeddings": False,
        "position_offset": 1, "slowest_wave_is_exact": True,
    },
}  # fmt: skip


def harness(model: Transformer, tokenizers: tuple[Tokenizer, Tokenizer], program: str) -> str:
    """A page with the model and a program that gives `result`."""
    data = {
        **packed(model),
        "source": vocabulary(tokenizers[0]),
        "target": vocabulary(tokenizers[1]),
    }
    text = json.dumps(data).replace("<", "\\u003c")
    scripts = "\n".join(FOLDER.joinpath(name).read_text("utf-8") for name in SCRIPTS[:2])
    return f"""<meta charset="utf-8"><pre id="result"></pre>
<script type="application/json" id="data">{text}</script>
<script>{scripts}
const data = JSON.parse(document.getElementById("data").textContent);
const weights = unpack(data.shapes, data.weights);
for (const [name, home] of Object.entries(data.tied)) weights[name] = weights[home];
const model = new Model(data.config, weights), source = new Tokenizer(data.source, {UNK_ID});
const words = {json.dumps(WORDS)}, ids = words.map((word) => [...source.encode(word), {EOS}]);
let result;
try {{ result = (() => {{ {program} }})(); }} catch (error) {{ result = String(error.stack); }}
document.getElementById("result").textContent = JSON.stringify(result);
</script>"""


def ids_of(tokenizer: Tokenizer) -> list[list[int]]:
    """The words as the project cuts them, once they are canonical."""
    return [tokenizer.encode(" ".join(word.split())).ids for word in WORDS]


@pytest.mark.parametrize("kind", KINDS)
def test_logits_and_attention_are_those_of_pytorch(
    kind: str,
    make_model: Callable[..., Transformer],
    tokenizers: tuple[Tokenizer, Tokenizer],
    browse: Callable[[str], str],
) -> None:
    """Every config of the book that the page runs, over a forced target of six tokens."""
    model = make_model(**KINDS[kind])
    forced = [1, 5, 4, 7, 6, 5]
    program = f"""
    return ids.map((tokens) => {{
      const {{ memory }} = model.encode(tokens);
      let state = model.start();
      return {{ tokens, logits: {forced}.map((token) => {{
        const made = model.step(memory, state, token);
        state = made.state;
        return Array.from(made.logits);
      }}) }};
    }});"""
    found = json.loads(browse(harness(model, tokenizers, program)))
    assert [each["tokens"] for each in found] == ids_of(tokenizers[0])
    largest = 0.0
    with torch.inference_mode():
        for each in found:
            ours = model(torch.tensor([each["tokens"]]), torch.tensor([forced]))[0]
            largest = max(largest, float((ours - torch.tensor(each["logits"])).abs().max()))
    assert largest <= BOUND


def test_two_hundred_words_with_weights_rounded_to_half_precision(
    make_model: Callable[..., Transformer],
    tokenizers: tuple[Tokenizer, Tokenizer],
    browse: Callable[[str], str],
) -> None:
    """A trained model is not exact in float16: its logits move, within a bound."""
    model = make_model(norm_position="pre", activation="swiglu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 2**-13)  # a quarter of a unit in the last place of float16
    chance = random.Random(0)
    rows = [[chance.randrange(4, 20) for _ in range(chance.randrange(1, 12))] for _ in range(200)]
    program = f"""
    return {rows}.map((tokens) => Array.from(
      model.step(model.encode(tokens).memory, model.start(), 1).logits));"""
    found = json.loads(browse(harness(model, tokenizers, program)))
    with torch.inference_mode():
        ours = [model(torch.tensor([row]), torch.tensor([[1]]))[0, 0] for row in rows]
    theirs = [torch.tensor(logits) for logits in found]
    differences = [float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True)]
    assert len(differences) == 200 and 1e-6 < max(differences) <= 0.02


def test_decoding_gives_the_tokens_of_greedy_and_beam_search(
    make_model: Callable[..., Transformer],
    tokenizers: tuple[Tokenizer, Tokenizer],
    browse: Callable[[str], str],
) -> None:
    model = make_model(norm_position="pre")
    program = f"""
    return ids.map((tokens) => ({{
      greedy: decode(model, tokens, {LONGEST}, (s) => best(s, 1)[0][0]).steps.map((s) => s.token),
      beam: beamSearch(model, tokens, 4, {LONGEST}).winners[0],
    }})).map(({{ greedy, beam }}) => ({{ greedy, beam: beam.tokens, score: beam.score }}));"""
    found = json.loads(browse(harness(model, tokenizers, program)))
    lengths = set()
    for each, ids in zip(found, ids_of(tokenizers[0]), strict=True):
        source = torch.tensor([ids])
        assert each["greedy"] == greedy(model, source, LONGEST).ids[0].tolist()
        searched = beam_search(model, source, 4, LONGEST)
        assert each["beam"] == searched.ids[0].tolist()
        assert each["score"] == pytest.approx(float(searched.scores[0]), abs=BOUND)
        lengths.add(len(each["beam"]))
    assert len(lengths) > 1, "all hypotheses end at the same length: this proves little"


def test_what_is_switched_off_is_off(
    make_model: Callable[..., Transformer],
    tokenizers: tuple[Tokenizer, Tokenizer],
    browse: Callable[[str], str],
) -> None:
    """A silenced head changes the logits; without positions the encoder sees a bag of letters."""
    model = make_model(norm_position="pre")
    program = """
    const logits = (tokens) =>
      Array.from(model.step(model.encode(tokens).memory, model.start(), 1).logits);
    const [forward, backward] = [logits([5, 6, 7, 8]), logits([8, 7, 6, 5])];
    model.positionsOn = false;
    const bags = [logits([5, 6, 7, 8]), logits([8, 7, 6, 5])];
    model.positionsOn = true;
    const silenced = ["encoder.0.1", "decoder.1.0", "cross.0.2"].map((name) => {
      model.off = new Set([name]);
      return logits([5, 6, 7, 8]);
    });
    return { forward, backward, bags, silenced };"""
    found = json.loads(browse(harness(model, tokenizers, program)))
    assert found["forward"] != pytest.approx(found["backward"], abs=1e-3)
    assert found["bags"][0] == pytest.approx(found["bags"][1], abs=1e-5)
    for logits in found["silenced"]:
        assert logits != pytest.approx(found["forward"], abs=1e-3)


@pytest.fixture
def page(
    make_model: Callable[..., Transformer], tokenizers: tuple[Tokenizer, Tokenizer], tmp_path: Path
) -> str:
    path = tmp_path / "playground.html"
    write_playground(make_model(), tokenizers, (8, LONGEST), ["abc", "<i>fgh</i>"], path)
    return path.read_text(encoding="utf-8")


def test_the_page_runs_nothing_but_its_own_script_and_asks_for_nothing(page: str) -> None:
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy and "default-src 'none'" in policy[1]
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{directive} &#39;sha256-{digest}&#39;" in policy[1].replace("'", "&#39;")
    assert not re.search(r"""(src|href)=["']""", page) and "http:" not in page.replace(
        "http://www.w3.org/2000/svg", ""
    )
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert "<" not in data and json.loads(data)["examples"] == ["abc", "<i>fgh</i>"]


def test_a_person_types_steps_and_breaks_it(page: str, browse: Callable[[str], str]) -> None:
    """The page as it is (its policy allows no second script, so the policy is taken out here)."""
    program = """(() => {
    const errors = [];
    window.addEventListener("error", (event) => errors.push(event.message));
    const shown = () => [...document.querySelectorAll("#output button")].map((b) => b.textContent);
    const $ = (id) => document.getElementById(id);
    const log = { first: shown(), source: $("source").children.length };
    $("text").value = "hijk"; $("step").click(); $("step").click();
    log.steps = shown().length;
    $("form").requestSubmit();
    log.cells = document.querySelectorAll("#map td").length;
    log.rows = shown().length;
    log.sums = [...document.querySelectorAll("#map tr")].slice(1).map((row) =>
      [...row.querySelectorAll("td")].reduce((sum, cell) => sum + Number(cell.title), 0));
    $("search").value = "beam"; $("search").dispatchEvent(new Event("change"));
    log.beamsShown = !$("beams-label").hidden;
    $("form").requestSubmit();
    log.tree = document.querySelectorAll("#tree path").length;
    log.won = document.querySelectorAll("#tree .won").length;
    log.beamed = shown().length;
    $("positions").click();
    log.pressed = $("positions").getAttribute("aria-pressed");
    log.compare = $("compare").hidden ? "" : $("compare").textContent;
    document.querySelector("#heads button").click();
    log.off = document.querySelectorAll("#heads [aria-pressed=false]").length;
    $("everything").click();
    log.on = document.querySelectorAll("[aria-pressed=false]").length;
    log.errors = errors;
    const pre = document.createElement("pre"); pre.id = "result";
    pre.textContent = JSON.stringify(log); document.body.append(pre);
    })();"""
    without_policy = re.sub(r"<meta http-equiv[^>]*>", "", page)
    opened = browse(without_policy.replace("</body>", f"<script>{program}</script></body>"))
    log = json.loads(opened)
    assert log["errors"] == [] and log["first"] and log["source"] == 4
    assert log["steps"] == 2
    assert log["cells"] == log["rows"] * 5
    assert log["sums"] == pytest.approx([1] * log["rows"], abs=0.01)
    assert log["beamsShown"] and log["tree"] >= log["won"] == log["beamed"] >= 1
    assert log["pressed"] == "false" and log["compare"].startswith("With everything switched on:")
    assert (log["off"], log["on"]) == (1, 0)


def test_a_model_that_the_page_cannot_run_is_left_out_with_a_reason(
    make_model: Callable[..., Transformer], tokenizers: tuple[Tokenizer, Tokenizer]
) -> None:
    assert obstacle(make_model(), tokenizers) is None
    assert [unit_of(tokenizer) for tokenizer in tokenizers] == ["character", "word"]
    assert "positions: alibi" in (obstacle(make_model(positions="alibi"), tokenizers) or "")
    assert "num_kv_heads: 1" in (obstacle(make_model(num_kv_heads=1), tokenizers) or "")
    assert "1,450,000" in (obstacle(make_model(d_model=480, d_ff=900), tokenizers) or "")
    assert "Linear" in (obstacle(torch.nn.Linear(1, 1), tokenizers) or "")
    pieces = Tokenizer.from_str(
        json.dumps({**json.loads(tokenizers[0].to_str()), "model": {
            "type": "BPE", "vocab": {"a": 0}, "merges": [], "unk_token": None,
        }})
    )  # fmt: skip
    assert "pieces" in (obstacle(make_model(), (tokenizers[0], pieces)) or "")
