"""What must hold for every input: hypothesis looks for the input that breaks it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from scratchformer.transformer import (
    DecoderOnly,
    EncoderClassifier,
    Transformer,
    TransformerConfig,
    collect_attention,
)
from scratchformer.transformer.attention import attention_weights
from scratchformer.transformer.largest import largest_sums
from scratchformer.transformer.masks import as_bias, causal_mask, padding_mask
from scratchformer.transformer.positions import PositionsInAttention

VOCAB = 13
LIMITS = settings(max_examples=15, deadline=None, derandomize=True)

positions = st.sampled_from(["sinusoidal", "sinusoidal_halves", "learned", "rotary", "alibi"])
norm_positions = st.sampled_from(["pre", "post"])
paths = st.sampled_from(["fused", "explicit"])
seeds = st.integers(0, 10**6)


@st.composite
def configurations(draw: st.DrawFn) -> TransformerConfig:
    """Every combination of the switches, in a small size."""
    return TransformerConfig(
        source_vocab_size=VOCAB,
        target_vocab_size=VOCAB,
        d_model=8,
        num_heads=draw(st.sampled_from([1, 2])),
        num_kv_heads=draw(st.sampled_from([0, 1])),
        d_ff=12,
        num_encoder_layers=draw(st.integers(1, 2)),
        num_decoder_layers=draw(st.integers(1, 2)),
        norm=draw(st.sampled_from(["layer", "rms"])),
        norm_position=draw(norm_positions),
        activation=draw(st.sampled_from(["relu", "gelu", "swiglu"])),
        positions=draw(positions),
        tie_embeddings=draw(st.sampled_from(["none", "decoder", "all"])),
        initialization=draw(st.sampled_from(["xavier", "depth_scaled"])),
        attention=draw(paths),
        max_length=16,
        num_labels=3,
    )


def build(kind: type, config: TransformerConfig, seed: int):
    torch.manual_seed(seed)
    return kind(config).double().eval()


def random_tokens(seed: int, batch: int, length: int) -> Tensor:
    return torch.randint(3, VOCAB, (batch, length), generator=torch.Generator().manual_seed(seed))


@LIMITS
@given(configurations(), seeds, st.integers(1, 5))
def test_a_future_target_token_changes_nothing(config, seed, place):
    model = build(Transformer, config, seed)
    source, target = random_tokens(seed, 2, 6), random_tokens(seed + 1, 2, 6)
    changed = target.clone()
    changed[:, place:] = random_tokens(seed + 2, 2, 6 - place)
    before, after = model(source, target), model(source, changed)
    assert torch.allclose(before[:, :place], after[:, :place], atol=1e-12, rtol=0)


@LIMITS
@given(configurations(), seeds, st.integers(0, 4))
def test_an_earlier_target_token_changes_what_follows(config, seed, place):
    """The mask hides the future only: nothing else went blind with it."""
    model = build(Transformer, config, seed)
    source, target = random_tokens(seed, 1, 6), random_tokens(seed + 1, 1, 6)
    changed = target.clone()
    changed[0, place] = 3 + (target[0, place] - 2) % (VOCAB - 3)
    moved = (model(source, target) - model(source, changed)).abs().amax(dim=2)[0]
    assert (moved[place:] > 0).all()


@LIMITS
@given(configurations(), seeds, st.integers(1, 5))
def test_a_future_token_changes_nothing_in_a_language_model(config, seed, place):
    model = build(DecoderOnly, config, seed)
    tokens = random_tokens(seed, 2, 6)
    changed = tokens.clone()
    changed[:, place:] = random_tokens(seed + 2, 2, 6 - place)
    before, after = model(tokens), model(changed)
    assert torch.allclose(before[:, :place], after[:, :place], atol=1e-12, rtol=0)


@LIMITS
@given(configurations(), seeds, st.integers(0, 5))
def test_source_padding_changes_nothing(config, seed, padding):
    """Neither in the encoder's output nor, through cross-attention, in the logits."""
    model = build(Transformer, config, seed)
    source, target = random_tokens(seed, 2, 4), random_tokens(seed + 1, 2, 5)
    padded = torch.cat([source, torch.zeros(2, padding, dtype=torch.long)], dim=1)
    hidden = model.encode(padded).hidden[:, :4]
    assert torch.allclose(model.encode(source).hidden, hidden, atol=1e-12, rtol=0)
    assert torch.allclose(model(source, target), model(padded, target), atol=1e-12, rtol=0)


@LIMITS
@given(configurations(), seeds, st.integers(0, 5))
def test_what_lies_under_the_padding_changes_nothing(config, seed, padding):
    """The embedding of the padding is never seen: any other would give the same logits."""
    model = build(Transformer, config, seed)
    source, target = random_tokens(seed, 2, 4), random_tokens(seed + 1, 2, 5)
    padded = torch.cat([source, torch.zeros(2, padding, dtype=torch.long)], dim=1)
    before = model(padded, target)
    with torch.no_grad():
        model.source_embedding.tokens.weight[0] += 7.0
    words = slice(1, None)  # with a tied matrix, the logit of the padding itself does change
    after = model(padded, target)
    assert torch.allclose(before[..., words], after[..., words], atol=1e-12, rtol=0)


@LIMITS
@given(configurations(), seeds, st.integers(0, 5))
def test_target_padding_changes_nothing(config, seed, padding):
    model = build(Transformer, config, seed)
    source, target = random_tokens(seed, 2, 4), random_tokens(seed + 1, 2, 5)
    padded = torch.cat([target, torch.zeros(2, padding, dtype=torch.long)], dim=1)
    after = model(source, padded)[:, :5]
    assert torch.allclose(model(source, target), after, atol=1e-12, rtol=0)


@LIMITS
@given(configurations(), seeds, st.integers(0, 5))
def test_padding_changes_nothing_for_a_classifier(config, seed, padding):
    model = build(EncoderClassifier, config, seed)
    source = random_tokens(seed, 2, 4)
    padded = torch.cat([source, torch.zeros(2, padding, dtype=torch.long)], dim=1)
    assert torch.allclose(model(source), model(padded), atol=1e-12, rtol=0)


@LIMITS
@given(configurations(), seeds, st.permutations(range(4)))
def test_permuting_the_batch_permutes_the_output(config, seed, order):
    model = build(Transformer, config, seed)
    source, target = random_tokens(seed, 4, 6), random_tokens(seed + 1, 4, 5)
    source[1, 2:] = 0
    target[2, 3:] = 0
    moved = model(source[list(order)], target[list(order)])
    assert torch.allclose(model(source, target)[list(order)], moved, atol=1e-12, rtol=0)


@LIMITS
@given(configurations(), seeds)
def test_encoder_without_positions_is_equivariant(config, seed):
    """Why positions exist: take them away, and permuted tokens give permuted vectors."""
    model = build(EncoderClassifier, config, seed)
    source, order = random_tokens(seed, 1, 6), [3, 1, 5, 0, 4, 2]
    with_positions = (model.encode(source[:, order]) - model.encode(source)[:, order]).abs().max()
    assert with_positions > 1e-6
    model.source_embedding.positions = None
    for layer in model.encoder.layers:
        layer.self_attention.positions = PositionsInAttention()
    permuted = model.encode(source[:, order])
    assert torch.allclose(model.encode(source)[:, order], permuted, atol=1e-12, rtol=0)


@LIMITS
@given(configurations(), seeds)
def test_attention_rows_sum_to_one_and_hidden_keys_get_nothing(config, seed):
    model = build(Transformer, config, seed)
    source, target = random_tokens(seed, 3, 6), random_tokens(seed + 1, 3, 5)
    source[1, 4:] = 0
    target[2, 2:] = 0
    with collect_attention(model) as maps:
        model(source, target)
    for kind in (maps.encoder, maps.decoder, maps.cross):
        for weights in kind:
            ones = torch.ones(weights.shape[:-1], dtype=torch.float64)
            assert torch.allclose(weights.sum(dim=-1), ones, atol=1e-12, rtol=0)
    for weights in maps.encoder + maps.cross:
        assert not weights[1, :, :, 4:].any()
    for weights in maps.decoder:
        assert not weights.triu(diagonal=1).any()
        assert not weights[2, :, 2:, 2:].any()


@LIMITS
@given(configurations(), seeds)
def test_looking_does_not_change_what_is_seen(config, seed):
    """Inside collect_attention the outputs are the same; outside, nothing is kept."""
    model = build(Transformer, config, seed)
    source, target = random_tokens(seed, 2, 6), random_tokens(seed + 1, 2, 5)
    outside = model(source, target)
    with collect_attention(model) as maps:
        inside = model(source, target)
    assert torch.allclose(outside, inside, atol=1e-12, rtol=0)
    first = maps.encoder[0]
    model(source + 0, target)
    assert maps.encoder[0] is first
    assert len(maps.encoder) == config.num_encoder_layers
    assert len(maps.decoder) == len(maps.cross) == config.num_decoder_layers


@LIMITS
@given(configurations(), seeds, st.sampled_from([torch.float32, torch.bfloat16, torch.float16]))
def test_a_fully_padded_row_stays_finite(config, seed, dtype):
    """In the output, in every gradient, and for the rows beside it, in every precision."""
    model = build(Transformer, config, seed).to(dtype)
    source, target = random_tokens(seed, 3, 6), random_tokens(seed + 1, 3, 5)
    source[1] = 0
    target[1] = 0
    logits = model(source, target)
    assert logits.isfinite().all()
    logits[[0, 2]].float().square().mean().backward()
    for parameter in model.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()


@LIMITS
@given(st.integers(1, 7), st.integers(1, 7))
def test_masks_are_what_they_say(queries, before):
    keys = queries + before
    mask = causal_mask(queries, keys)[0, 0]
    for query in range(queries):
        for key in range(keys):
            assert mask[query, key] == (key <= query + before)
    tokens = torch.arange(keys)[None] % 3
    assert torch.equal(padding_mask(tokens, 0)[0, 0, 0], tokens[0] != 0)
    bias = as_bias(mask, torch.float32)
    assert ((bias == 0) == mask).all()
    scores = torch.full((1, 1, queries, 4), 30.0), torch.full((1, 1, keys, 4), -30.0)
    assert not attention_weights(*scores, bias[None, None])[0, 0][~mask].any()


@pytest.mark.parametrize("vocab", [40, 1280, 1301, 8000])
def test_the_largest_sums_are_those_of_topk(vocab):
    """In groups or not, with a smaller last group, impossible tokens and beams not yet begun."""
    torch.manual_seed(vocab)
    gains = torch.randn(6, 5, vocab).log_softmax(dim=-1)
    gains[:, :, :2] = -torch.inf
    gains[0, 2, -3:] = torch.tensor([0.0, -0.001, -0.002])  # the last group holds the best
    scores = torch.randn(6, 5)
    scores[1, 1:] = -torch.inf
    values, places = largest_sums(scores, gains, 10)
    expected = (scores[..., None] + gains).flatten(1).topk(10)
    assert torch.equal(values, expected.values) and torch.equal(places, expected.indices)
