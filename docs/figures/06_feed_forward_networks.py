"""The activations, and a function approximated by feed-forward networks of growing width."""

import torch
from matplotlib.figure import Figure

from scratchformer.transformer import TransformerConfig
from scratchformer.transformer.feed_forward import FeedForward
from scratchformer.transformer.initialization import initialize
from scratchformer.visualization.plots.style import BLUE, GREEN, ORANGE, VERMILLION

STYLES = {"relu": (BLUE, "-"), "gelu": (VERMILLION, "--"), "swiglu": (GREEN, ":")}


def network(width: int, activation: str) -> FeedForward:
    config = TransformerConfig(
        d_model=1, num_heads=1, d_ff=width, positions="learned", activation=activation
    )
    block = FeedForward(config)
    initialize(block, config)
    return block


def curve(activation: str, x: torch.Tensor) -> torch.Tensor:
    """One hidden unit with all weights 1 and no bias: the activation itself."""
    block = network(1, activation)
    with torch.no_grad():
        for name, parameter in block.named_parameters():
            parameter.fill_(float(name.endswith("weight")))
        return block(x)


def fitted(width: int, x: torch.Tensor, wanted: torch.Tensor) -> FeedForward:
    """The best of ten blocks trained on `wanted`: with few units, some trainings get stuck."""
    blocks = [trained(width, x, wanted, seed) for seed in range(10)]
    return min(blocks, key=lambda block: (block(x) - wanted).square().mean().item())


def bends(block: FeedForward) -> torch.Tensor:
    """Where a ReLU of the block begins to let through: w x + b = 0."""
    return (-block.inner.bias / block.inner.weight.flatten()).detach()


def trained(width: int, x: torch.Tensor, wanted: torch.Tensor, seed: int) -> FeedForward:
    torch.manual_seed(seed)
    block = network(width, "relu")
    with torch.no_grad():  # bends spread over the interval, not all at 0
        places = torch.linspace(-3.2, 3.2, width + 2)[1:-1]
        block.inner.bias.copy_(-block.inner.weight.flatten() * places)
    optimizer = torch.optim.LBFGS(block.parameters(), max_iter=150, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (block(x) - wanted).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    return block


def draw() -> Figure:
    x = torch.linspace(-3.2, 3.2, 200)[:, None]
    figure = Figure(figsize=(9.2, 3.1), layout="constrained")
    left, right = figure.subplots(1, 2)
    for activation, (colour, style) in STYLES.items():
        label = "swiglu, both branches = x" if activation == "swiglu" else activation
        left.plot(x, curve(activation, x), style, color=colour, label=label)
    left.set(xlabel="x", ylim=(-0.6, 3.4), title="one hidden unit, weights 1")
    left.legend()
    wanted = torch.sin(2 * x) * torch.exp(-0.1 * x.square())
    right.plot(x, wanted, color="black", linewidth=1, label="wanted")
    for width, colour, style in ((2, ORANGE, ":"), (6, VERMILLION, "--"), (32, BLUE, "-.")):
        block = fitted(width, x, wanted)
        with torch.no_grad():
            right.plot(x, block(x), style, color=colour, label=f"d_ff = {width}")
            if width < 32:
                places = bends(block)[bends(block).abs() < 3.2, None]
                right.plot(places, block(places), "o", color=colour, markersize=6)
    right.set(xlabel="x", ylim=(-1.3, 2.1), title="fitted to a wave: more units, more bends (dots)")
    right.legend(ncols=2, loc="upper center")
    return figure
