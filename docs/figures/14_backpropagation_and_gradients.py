"""The gradient on its way back through deep untrained stacks; accumulation, right and wrong."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from scratchformer.training.objectives.loss import smoothed_cross_entropy, without_padding
from scratchformer.transformer import Transformer, TransformerConfig
from scratchformer.visualization.plots.style import BLUE, ORANGE, VERMILLION

DEPTHS, WIDTH, VOCAB, SEEDS = (6, 12, 24), 64, 50, 3
ROWS, SHORT, RATIOS = 8, 3, [1, 2, 4, 8, 16]


def untrained(depth: int, norm_position: str, seed: int) -> Transformer:
    torch.manual_seed(seed)
    config = TransformerConfig(VOCAB, VOCAB, WIDTH, 4, 2 * WIDTH, depth, depth, dropout=0.0,
                               norm_position=norm_position)  # fmt: skip
    return Transformer(config)


def loss_sum(model: Transformer, source: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of all target tokens that are not padding."""
    target_input = torch.cat([torch.ones_like(target[:, :1]), target[:, :-1]], dim=1)
    hidden = model.decode_hidden(target_input, model.encode(source))
    kept, ids = without_padding(hidden, target, model.config.pad_id)
    return smoothed_cross_entropy(model.project(kept), ids)


def reaching(depth: int, norm_position: str, seed: int) -> Tensor:
    """[depth] gradient norm at the output of each decoder layer, that of the last layer first."""
    model = untrained(depth, norm_position, seed)
    outputs: list[Tensor] = []
    for layer in model.decoder.layers:
        layer.register_forward_hook(lambda _, __, x: outputs.append(x))
    loss = loss_sum(model, *torch.randint(3, VOCAB, (2, ROWS, 16)))
    gradients = torch.autograd.grad(loss, outputs)
    return torch.stack([x.norm() for x in reversed(gradients)])


def gradient(model: Transformer, parts: list[tuple[Tensor, Tensor]], by_tokens: bool) -> Tensor:
    """All gradients in one vector, accumulated over the parts of an update.

    `by_tokens` divides each part's sum by the tokens of the whole update, as ours does; otherwise
    each part is averaged over its own tokens, and the parts are averaged.
    """
    model.zero_grad()
    tokens = [int((target != model.config.pad_id).sum()) for _, target in parts]
    for (source, target), own in zip(parts, tokens, strict=True):
        divisor = sum(tokens) if by_tokens else own * len(parts)
        (loss_sum(model, source, target) / divisor).backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def accumulation_error(ratio: int, by_tokens: bool) -> float:
    """Distance from the gradient of the joint batch, relative to its norm, in float64."""
    model = untrained(2, "pre", 0).double()
    sources = torch.randint(3, VOCAB, (2, ROWS, 5))
    short = torch.randint(3, VOCAB, (ROWS, SHORT))
    long = torch.randint(3, VOCAB, (ROWS, SHORT * ratio))
    padded = torch.nn.functional.pad(short, (0, SHORT * (ratio - 1)))
    joint = gradient(model, [(sources.flatten(0, 1), torch.cat([padded, long]))], True)
    found = gradient(model, [(sources[0], short), (sources[1], long)], by_tokens)
    return float((found - joint).norm() / joint.norm())


def draw() -> Figure:
    figure = Figure(figsize=(9.2, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    for kind, colour, style in (("pre", BLUE, "-"), ("post", ORANGE, "--")):
        for depth, marker in zip(DEPTHS, "^so", strict=True):
            runs = torch.stack([reaching(depth, kind, seed) for seed in range(SEEDS)])
            left.plot(runs.log().mean(dim=0).exp(), style, marker=marker, color=colour,
                      markersize=4, label=f"{kind}-norm, {depth} layers")  # fmt: skip
    left.set_yscale("log")
    left.set_yticks([0.001, 0.01, 0.1, 1, 10], ["0.001", "0.01", "0.1", "1", "10"])
    left.set(xlabel="decoder layers passed on the way back", ylim=(1e-3, 30),
             title="gradient norm of the residual stream")  # fmt: skip
    left.legend(loc="lower left")
    ways = (
        (False, "mean of the parts' means", VERMILLION, "s--"),
        (True, "sums / tokens of the update", BLUE, "o-"),
    )
    for by_tokens, label, colour, style in ways:
        errors = [accumulation_error(ratio, by_tokens) for ratio in RATIOS]
        right.plot(RATIOS, errors, style, color=colour, label=label)
    right.set_xscale("log", base=2)
    right.set_xticks(RATIOS, [str(ratio) for ratio in RATIOS])
    right.set(xlabel="length of the second part / length of the first",
              title="relative error of the accumulated gradient")  # fmt: skip
    right.legend()
    return figure
