"""The formulas of the papers, computed number by number, give what our tensor code gives."""

import cmath
import math

import pytest
import torch
from torch import nn

from scratchformer.transformer import TransformerConfig
from scratchformer.transformer.attention import SelfAttention, attention_weights
from scratchformer.transformer.dropout import LARGEST, STEPS, Dropout
from scratchformer.transformer.feed_forward import FeedForward
from scratchformer.transformer.masks import as_bias, causal_mask
from scratchformer.transformer.normalization import LayerNorm, RMSNorm
from scratchformer.transformer.positions import (
    AlibiPositions,
    LearnedPositions,
    RotaryPositions,
    SinusoidalPositions,
)


@pytest.fixture(autouse=True)
def double() -> object:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def configuration(**changes: object) -> TransformerConfig:
    return TransformerConfig(**({"d_model": 12, "num_heads": 2, "d_ff": 10, "max_length": 40} | changes))  # type: ignore[arg-type]  # fmt: skip  # noqa: E501


def test_attention_weights_are_equation_1(agree):
    """exp(q·k / √d_k) over its sum, one number at a time."""
    query, key = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 6, 5)
    weights = attention_weights(query, key)
    expected = torch.empty(2, 3, 4, 6)
    for b in range(2):
        for h in range(3):
            for q in range(4):
                scores = [
                    sum(query[b, h, q, i].item() * key[b, h, k, i].item() for i in range(5))
                    / math.sqrt(5)
                    for k in range(6)
                ]
                total = sum(math.exp(score) for score in scores)
                for k in range(6):
                    expected[b, h, q, k] = math.exp(scores[k]) / total
    agree("formula: attention weights", weights, expected, 1e-14)


def test_unit_variance_in_unit_variance_out():
    """Why √d_k: scores of independent unit vectors have variance 1 at any width."""
    for width in (4, 64, 256):
        query, key = torch.randn(1, 1, 200, width), torch.randn(1, 1, 200, width)
        scores = attention_weights(query, key).log()
        centred = scores - scores.mean(dim=-1, keepdim=True)
        assert centred.var().item() == pytest.approx(1, rel=0.1)


def test_sinusoids_are_those_of_the_paper(agree):
    table = SinusoidalPositions(configuration())(0, 40)
    expected = torch.empty(40, 12)
    for position in range(40):
        for i in range(6):
            angle = position / 10000 ** (2 * i / 12)
            expected[position, 2 * i] = math.sin(angle)
            expected[position, 2 * i + 1] = math.cos(angle)
    agree("formula: sinusoids", table, expected, 1e-14)


def test_halves_are_the_same_waves_in_another_order(agree):
    paper = SinusoidalPositions(configuration())(3, 20)
    halves = SinusoidalPositions(configuration(positions="sinusoidal_halves"))(3, 20)
    reordered = torch.cat([paper[:, 0::2], paper[:, 1::2]], dim=1)
    agree("formula: sinusoids", halves, reordered, 0)


def test_slowest_wave_of_tensor2tensor_is_exact():
    positions = SinusoidalPositions(
        configuration(positions="sinusoidal_halves", slowest_wave_is_exact=True)
    )
    assert positions(0, 40)[39, 5].item() == pytest.approx(math.sin(39 / 10000), abs=1e-12)
    assert positions(0, 40)[39, 0].item() == pytest.approx(math.sin(39), abs=1e-12)


def test_a_shift_of_sinusoids_is_a_rotation(agree):
    """PE(pos + k) comes from PE(pos) by a matrix that depends on k alone (§3.5)."""
    table = SinusoidalPositions(configuration())(0, 40)
    rotation = torch.zeros(12, 12)
    for i in range(6):
        angle = 7 / 10000 ** (2 * i / 12)
        rotation[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = torch.tensor(
            [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
        )
    agree("formula: sinusoids", table[:33] @ rotation.T, table[7:], 1e-13)


@pytest.mark.parametrize("kind", [SinusoidalPositions, LearnedPositions])
def test_positions_start_and_offset(kind):
    """The rows asked for, counted from `position_offset`; none beyond the last."""
    plain = kind(configuration(positions="learned", max_length=50))
    moved = kind(configuration(positions="learned", position_offset=2))
    if kind is LearnedPositions:
        with torch.no_grad():
            plain.table.copy_(torch.arange(50.0)[:, None])
            moved.table.copy_(torch.arange(42.0)[:, None])
    assert torch.equal(moved(0, 5), plain(2, 5))
    assert torch.equal(moved(3, 5), plain(5, 5))
    assert len(moved(0, 40)) == 40
    with pytest.raises(ValueError, match="41 tokens is longer than max_length"):
        moved(1, 40)


def test_rotary_is_multiplication_by_a_complex_number(agree):
    rotary = RotaryPositions(configuration())
    x = torch.randn(1, 1, 5, 6)
    turned = rotary.turn(x, 4)
    for place in range(5):
        for i in range(3):
            number = complex(x[0, 0, place, i], x[0, 0, place, i + 3])
            number *= cmath.exp(1j * (place + 4) / 10000 ** (2 * i / 6))
            expected = torch.tensor([number.real, number.imag])
            agree("formula: rotary", turned[0, 0, place, [i, i + 3]], expected, 1e-14)


def test_rotary_scores_depend_on_the_distance_only(agree):
    rotary = RotaryPositions(configuration())
    query, key = torch.randn(1, 1, 1, 6), torch.randn(1, 1, 1, 6)
    near = (rotary.turn(query, 9) * rotary.turn(key, 4)).sum()
    far = (rotary.turn(query, 35) * rotary.turn(key, 30)).sum()
    agree("formula: rotary", near, far, 1e-13)


@pytest.mark.parametrize("heads", [2, 3, 4])
def test_alibi_takes_slope_times_distance_from_the_score(agree, heads):
    """q·k / √d_k − 2^(−8h/H) |i − j| for head h = 1, …, H, one number at a time."""
    alibi = AlibiPositions(configuration(num_heads=heads))
    query, key = torch.randn(2, heads, 3, 5), torch.randn(2, heads, 5, 5)
    mask = as_bias(causal_mask(3, 5), torch.float64)
    scores = torch.empty(2, heads, 3, 5)
    for h in range(heads):
        for i in range(3):  # the last three of five positions ask
            for j in range(5):
                slope = 2 ** (-8 * (h + 1) / heads)
                score = (query[:, h, i] * key[:, h, j]).sum(dim=-1) / math.sqrt(5)
                scores[:, h, i, j] = score - slope * abs(i + 2 - j)
    found = attention_weights(query, key, alibi.add_bias(None, query, key))
    agree("formula: ALiBi", found, scores.softmax(dim=-1), 1e-14)
    found = attention_weights(query, key, alibi.add_bias(mask, query, key))
    agree("formula: ALiBi", found, (scores + mask).softmax(dim=-1), 1e-14)


def test_layer_norm(agree):
    norm = LayerNorm(12, 1e-3)
    with torch.no_grad():
        norm.gain.normal_()
        norm.bias.normal_()
    x = torch.randn(2, 3, 12)
    variance = ((x - x.mean(dim=-1, keepdim=True)) ** 2).sum(dim=-1, keepdim=True) / 12
    expected = (x - x.mean(dim=-1, keepdim=True)) / torch.sqrt(variance + 1e-3)
    agree("formula: LayerNorm", norm(x), norm.gain * expected + norm.bias, 1e-14)


def test_rms_norm_is_that_of_torch(agree):
    ours, theirs = RMSNorm(12, 1e-3), nn.RMSNorm(12, 1e-3)
    with torch.no_grad():
        theirs.weight.copy_(ours.gain.normal_())
    x = torch.randn(2, 3, 12, requires_grad=True)
    agree("formula: RMSNorm", ours(x), theirs(x), 1e-14)
    direction = torch.randn(2, 3, 12)
    mine = torch.autograd.grad((ours(x) * direction).sum(), [x, ours.gain])
    other = torch.autograd.grad((theirs(x) * direction).sum(), [x, theirs.weight])
    for gradient, expected in zip(mine, other, strict=True):
        agree("formula: RMSNorm", gradient, expected, 1e-13)


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "swiglu"])
def test_feed_forward(agree, activation):
    network = FeedForward(configuration(activation=activation))
    x = torch.randn(3, 12)
    inner = x @ network.inner.weight.T + network.inner.bias
    if activation == "relu":
        inner = inner.clamp(min=0)
    elif activation == "gelu":  # x times the chance that a normal variable is smaller
        inner = inner * (1 + torch.erf(inner / math.sqrt(2))) / 2
    elif activation == "silu":
        inner = inner / (1 + torch.exp(-inner))
    else:
        gate, value = inner[:, :10], inner[:, 10:]
        inner = gate / (1 + torch.exp(-gate)) * value
    expected = inner @ network.outer.weight.T + network.outer.bias
    agree("formula: feed-forward", network(x), expected, 1e-14)


@pytest.mark.parametrize("path", ["fused", "explicit"])
def test_gradients_of_attention_are_the_limits_of_differences(path):
    """gradcheck: the derivative of every output by every input, against finite differences."""
    attention = SelfAttention(configuration(attention=path), RotaryPositions(configuration()))
    bias = as_bias(causal_mask(3, 3), torch.float64)
    weights = [p.detach().clone().requires_grad_() for p in attention.parameters()]
    names = [name for name, _ in attention.named_parameters()]

    def forward(x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        chosen = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(attention, chosen, (x, bias))

    x = torch.randn(2, 3, 12, requires_grad=True)
    assert torch.autograd.gradcheck(forward, (x, *weights))


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_drops_p_and_keeps_the_mean(p):
    """Over 10⁶ entries: the share dropped, the mean, and no entry tied to another."""
    dropout = Dropout(p).train()
    x = torch.ones(1001, 999)
    y = dropout(x)
    deviation = math.sqrt(p * (1 - p) / x.numel())
    assert abs((y == 0).double().mean().item() - p) < 5 * deviation
    assert y.max().item() == pytest.approx(1 / (1 - p), rel=1e-4)
    assert abs(y.mean().item() - 1) < 5 * deviation / (1 - p)
    kept = (y != 0).double() - (1 - p)
    for shift in (1, 2, 3, 4, 999):  # four neighbours share a random word
        correlation = (kept.flatten()[:-shift] * kept.flatten()[shift:]).mean().item()
        assert abs(correlation) < 5 * p * (1 - p) / math.sqrt(x.numel())


@pytest.mark.parametrize("p", [0.999995, 1.0, 1.5, -0.1, math.nan])
def test_dropout_that_would_leave_nothing_is_refused(p):
    """Beyond LARGEST a probability rounds to 1, and 1 / (1 - p) to infinity."""
    with pytest.raises(ValueError, match=r"dropout .*must be at least 0 and at most 0.99998"):
        Dropout(p)
    assert Dropout(LARGEST).train()(torch.ones(10**6)).max() == STEPS


def test_dropout_gradient_and_evaluation():
    x = torch.ones(50, 50, requires_grad=True)
    dropout = Dropout(0.3).train()
    y = dropout(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())
    assert not torch.equal(dropout(x), y)
    torch.manual_seed(5)
    first = dropout(x)
    torch.manual_seed(5)
    assert torch.equal(dropout(x), first)
    assert dropout.eval()(x) is x
