"""Saving and loading, tying, and the first values of every parameter."""

import copy
import json
import math
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from scratchformer.transformer import (
    DecoderOnly,
    EncoderClassifier,
    Transformer,
    TransformerConfig,
    load_model,
    save_model,
)
from scratchformer.transformer.feed_forward import ACTIVATIONS
from scratchformer.transformer.fused_linear import FusedLinear
from scratchformer.transformer.initialization import initialize
from scratchformer.transformer.normalization import NORMS
from scratchformer.transformer.positions import SCHEMES

SIZES = {"source_vocab_size": 13, "target_vocab_size": 13, "d_model": 8, "num_heads": 2,
         "d_ff": 12, "num_encoder_layers": 1, "num_decoder_layers": 2, "max_length": 16,
         "num_labels": 3}  # fmt: skip


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.sampled_from([Transformer, EncoderClassifier, DecoderOnly]),
    st.sampled_from(["none", "decoder", "all"]),
    st.sampled_from(["sinusoidal", "learned", "rotary", "alibi"]),
    st.sampled_from(["layer", "rms"]),
    st.sampled_from(["relu", "swiglu"]),
    st.booleans(),
    st.integers(0, 10**6),
)
def test_save_and_load_are_exact(
    tmp_path_factory, kind, tie, positions, norm, activation, extras, seed
):
    torch.manual_seed(seed)
    config = TransformerConfig(
        **SIZES, tie_embeddings=tie, positions=positions, norm=norm, activation=activation,
        output_bias=extras, embedding_norm=extras, num_kv_heads=int(extras),
    )  # fmt: skip
    model = kind(config).eval()
    folder = tmp_path_factory.mktemp("model")
    save_model(model, folder)
    again = load_model(folder)
    assert type(again) is kind
    assert again.config == config
    assert not again.training
    state, loaded = model.state_dict(), again.state_dict()
    assert state.keys() == loaded.keys()
    for name, tensor in state.items():
        assert torch.equal(tensor, loaded[name]), name
    first = (folder / "model.safetensors").read_bytes()
    save_model(again, folder)
    assert (folder / "model.safetensors").read_bytes() == first


def assert_tied(model: Transformer, tie: str) -> None:
    source, target, output = (
        model.source_embedding.tokens.weight,
        model.target_embedding.tokens.weight,
        model.output.weight,
    )
    assert (target is output) == (tie != "none")
    assert (source is target) == (tie == "all")


@pytest.mark.parametrize("tie", ["none", "decoder", "all"])
def test_tied_weights_stay_tied(tmp_path, tie):
    """Through construction, a step of training, saving and loading; and are stored once."""
    model = Transformer(TransformerConfig(**SIZES, tie_embeddings=tie))
    assert_tied(model, tie)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    tokens = torch.randint(3, 13, (2, 5))
    model(tokens, tokens).square().mean().backward()
    optimizer.step()
    assert_tied(model, tie)
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    assert_tied(loaded, tie)
    model.load_state_dict(loaded.state_dict())
    assert_tied(model, tie)
    matrices = {"none": 3, "decoder": 2, "all": 1}[tie]
    rest = sum(p.numel() for n, p in model.named_parameters() if p.shape != (13, 8))
    stored = sum(p.numel() for p in loaded.parameters())
    assert stored == matrices * 13 * 8 + rest


def test_broken_folders_are_named(tmp_path):
    model = Transformer(TransformerConfig(**SIZES))
    save_model(model, tmp_path)
    settings_file = tmp_path / "config.json"
    settings_ = json.loads(settings_file.read_text())

    def changed(**changes: object) -> None:
        settings_file.write_text(json.dumps(settings_ | changes))

    changed(architecture="Mamba")
    with pytest.raises(ValueError, match="architecture 'Mamba' is none of Transformer"):
        load_model(tmp_path)
    changed(d_modle=3)
    with pytest.raises(ValueError, match=r"unknown fields \['d_modle'\]"):
        load_model(tmp_path)
    changed(d_ff=13)
    with pytest.raises(ValueError, match=r"feed_forward.inner.* has shape \(12, 8\).*\(13, 8\)"):
        load_model(tmp_path)
    changed(num_decoder_layers=1)
    with pytest.raises(ValueError, match=r"unexpected \['decoder.layers.1"):
        load_model(tmp_path)
    settings_file.unlink()
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 3}, "num_heads .3. must divide d_model .8."),
        ({"d_model": 6, "num_heads": 2, "positions": "rotary"}, "even head width, not 3"),
        ({"d_model": 7, "num_heads": 7}, "even d_model, not 7"),
        ({"d_model": 9, "num_heads": 3, "positions": "sinusoidal_halves"}, "even d_model, not 9"),
        ({"target_vocab_size": 14}, "needs one vocabulary"),
        ({"num_heads": 4, "num_kv_heads": 3}, "num_kv_heads .3. must divide num_heads .4."),
        ({"num_kv_heads": 4}, "num_kv_heads .4. must divide num_heads .2."),
        ({"num_kv_heads": -1}, "num_kv_heads .-1. must divide"),
        ({"num_heads": 0}, "num_heads .0. must be at least 1"),
        ({"d_model": 0}, "d_model .0. must be at least 1"),
        ({"max_length": 0}, "max_length .0. must be at least 1"),
        ({"dropout": 0.999995}, "dropout .0.999995. must be at least 0 and at most 0.99998"),
        ({"attention_dropout": 1.0}, "attention_dropout .1.0. must be"),
        ({"activation_dropout": -0.1}, "activation_dropout .-0.1. must be"),
    ],
)
def test_impossible_configurations(changes, message):
    with pytest.raises(ValueError, match=message):
        TransformerConfig(**(SIZES | changes))


CHOICES = {
    name: get_args(kind)
    for name, kind in get_type_hints(TransformerConfig).items()
    if get_origin(kind) is Literal
}


@pytest.mark.parametrize("name", CHOICES)
def test_an_unknown_choice_is_refused_with_those_that_exist(name):
    """Never taken for the last one of an if. (The hook of conftest.py would refuse it earlier.)"""
    config = copy.copy(TransformerConfig(**SIZES))
    object.__setattr__(config, name, "none such")
    known = ", ".join(CHOICES[name])
    with pytest.raises(ValueError, match=f"^{name} 'none such' is none of {known}$"):
        config.__post_init__()


def test_every_choice_has_its_entry():
    assert set(CHOICES["positions"]) == SCHEMES.keys()
    assert set(CHOICES["activation"]) == ACTIVATIONS.keys()
    assert set(CHOICES["norm"]) == NORMS.keys()
    assert len(CHOICES) == 7


def test_a_missing_vocabulary_is_named():
    with pytest.raises(ValueError, match="needs a vocabulary"):
        DecoderOnly(TransformerConfig(source_vocab_size=13, tie_embeddings="none"))


LARGE = {"source_vocab_size": 500, "target_vocab_size": 400, "d_model": 64, "num_heads": 4,
         "d_ff": 160, "num_encoder_layers": 3, "num_decoder_layers": 2, "max_length": 200,
         "num_labels": 30}  # fmt: skip


def expected_bounds(model: nn.Module, scaled: bool) -> dict[str, tuple[str, float]]:
    """The table of `initialize`, read out for every parameter by its name: kind and spread."""
    d, d_ff = 64, 160
    square, wide = math.sqrt(6 / (d + d)), math.sqrt(6 / (d + d_ff))
    table: dict[str, tuple[str, float]] = {}
    for name, _ in model.named_parameters():
        branches = 2 * 3 if name.startswith("encoder") else 3 * 2
        depth = math.sqrt(branches) if scaled else 1.0
        if name.endswith(("gain",)):
            table[name] = ("constant", 1.0)
        elif name.endswith("bias"):
            table[name] = ("constant", 0.0)
        elif "tokens" in name or "positions" in name or name == "output.weight":
            table[name] = ("normal", d**-0.5)
        elif name.endswith("attention.output.weight"):
            table[name] = ("uniform", square / depth)
        elif "attention" in name:
            table[name] = ("uniform", square)
        elif name.endswith("outer.weight"):
            table[name] = ("uniform", wide / depth)
        elif name.endswith("inner.weight"):
            table[name] = ("uniform", wide)
    return table


@pytest.mark.parametrize("activation", ["relu", "swiglu"])
@pytest.mark.parametrize("initialization", ["xavier", "depth_scaled"])
def test_first_values_match_the_table(initialization, activation):
    """Spread, mean and shape of every single parameter; none is missing from the table."""
    torch.manual_seed(0)
    model = Transformer(
        TransformerConfig(
            **LARGE, initialization=initialization, activation=activation,
            positions="learned", tie_embeddings="none", output_bias=True,
        )
    )  # fmt: skip
    table = expected_bounds(model, initialization == "depth_scaled")
    for name, parameter in model.named_parameters():
        kind, spread = table[name]
        values = parameter.detach().flatten()
        if kind == "constant":
            assert (values == spread).all(), name
            continue
        deviation = spread / math.sqrt(3) if kind == "uniform" else spread
        tolerance = 5 / math.sqrt(len(values))
        assert abs(values.mean().item()) < tolerance * deviation, name
        assert values.std().item() == pytest.approx(deviation, rel=tolerance), name
        if kind == "uniform":
            assert values.abs().max().item() <= spread, name
            assert values.abs().max().item() > 0.99 * spread, name
        else:
            beyond = (values.abs() > 2 * spread).double().mean().item()
            assert beyond == pytest.approx(0.0455, abs=0.2 * 0.0455), name


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_layers_side_by_side_are_drawn_each_with_its_own_bound(kv_heads):
    """Keys and values of fewer heads are smaller matrices, so their entries are larger."""
    torch.manual_seed(0)
    config = TransformerConfig(**LARGE, tie_embeddings="none", num_kv_heads=kv_heads)
    for name, module in Transformer(config).named_modules():
        if isinstance(module, FusedLinear):
            assert module.parts["key"] == module.parts["value"] == 16 * kv_heads
            for part, rows in module.split_rows(module.weight).items():
                assert rows.shape == (64 if part == "query" else 16 * kv_heads, 64)
                bound = math.sqrt(6 / sum(rows.shape))
                assert 0.99 * bound < rows.abs().max().item() <= bound, (name, part)


def test_classifier_head_is_xavier():
    torch.manual_seed(0)
    model = EncoderClassifier(TransformerConfig(**LARGE, tie_embeddings="none"))
    spread = math.sqrt(6 / (64 + 30))
    assert 0.99 * spread < model.output.weight.abs().max().item() <= spread
    assert not model.output.bias.any()


@pytest.mark.parametrize("kind", [Transformer, DecoderOnly, EncoderClassifier])
def test_the_seed_decides_and_nothing_else(kind):
    config = TransformerConfig(**SIZES)
    torch.manual_seed(3)
    first = kind(config).state_dict()
    torch.manual_seed(3)
    second = kind(config)
    assert all(torch.equal(first[name], tensor) for name, tensor in second.state_dict().items())
    initialize(second, config)
    moved = [n for n, t in second.state_dict().items() if not torch.equal(first[n], t)]
    assert any(name.endswith("query_key_value.weight") for name in moved)


@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_signal_neither_dies_nor_explodes(norm_position):
    """Twelve layers deep, activations and gradients at the start stay within a factor of ten."""
    torch.manual_seed(0)
    config = TransformerConfig(
        **(LARGE | {"num_encoder_layers": 12}), tie_embeddings="none",
        norm_position=norm_position, initialization="depth_scaled", dropout=0.0,
    )  # fmt: skip
    model = EncoderClassifier(config)
    sizes: list[float] = []
    gradients: list[float] = []
    for layer in model.encoder.layers:
        layer.register_forward_hook(lambda m, i, output: sizes.append(output.std().item()))
        layer.register_full_backward_hook(lambda m, i, g: gradients.append(g[0].norm().item()))
    tokens = torch.randint(3, 500, (8, 12))
    nn.functional.cross_entropy(model(tokens), torch.arange(8)).backward()
    assert len(sizes) == len(gradients) == 12
    assert max(sizes) / min(sizes) < 10
    assert max(gradients) / min(gradients) < 10
