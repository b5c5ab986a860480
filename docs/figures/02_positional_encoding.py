"""The sinusoids, and what the dot product of two positions knows about their distance."""

import torch
from matplotlib.figure import Figure

from scratchformer.transformer import TransformerConfig
from scratchformer.transformer.positions import RotaryPositions, SinusoidalPositions
from scratchformer.visualization.plots.style import BLUE, GREEN, VERMILLION

WIDTH, LENGTH = 32, 40


def draw() -> Figure:
    config = TransformerConfig(d_model=WIDTH, num_heads=1, max_length=LENGTH)
    table = SinusoidalPositions(config)(0, LENGTH)
    figure = Figure(figsize=(9.2, 3.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.1, 1, 1])

    image = left.imshow(table.T, cmap="cividis", aspect="auto", origin="lower")
    left.set(xlabel="position", ylabel="dimension", title="PE: a clock with many hands")
    left.grid(False)
    figure.colorbar(image, ax=left)

    for dimension, colour, style in ((0, BLUE, "-"), (8, VERMILLION, "--"), (16, GREEN, ":")):
        middle.plot(table[:, dimension], style, color=colour, label=f"dimension {dimension}")
    middle.set(xlabel="position", title="three of the hands", ylim=(-1.1, 1.6))
    middle.legend(loc="upper right")

    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 1, 1, WIDTH)
    turn = RotaryPositions(config).turn
    turned_query = turn(query.expand(1, 1, LENGTH, WIDTH), 0)[0, 0]
    turned_key = turn(key.expand(1, 1, LENGTH, WIDTH), 0)[0, 0]
    scores = turned_query @ turned_key.T / WIDTH**0.5
    products = table @ table.T / (WIDTH / 2)
    first, second = {"linewidth": 4, "alpha": 0.5}, {"linestyle": "--", "linewidth": 1}
    for name, product, colour in (("PE · PE", products, BLUE), ("rotary", scores, VERMILLION)):
        for place, style in ((10, first | {"color": colour}), (25, second | {"color": "black"})):
            label = f"{name}, query at {place}"
            right.plot(torch.arange(LENGTH) - place, product[place], label=label, **style)
    right.set(xlabel="key position minus query position", xlim=(-10, 14), ylim=(-3, 3.2),
              title="scores depend on distance alone")  # fmt: skip
    right.legend(loc="upper right")
    return figure
