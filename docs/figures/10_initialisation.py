"""The size of the signal through an untrained pre-norm encoder, for several first values."""

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from scratchformer.transformer import TransformerConfig
from scratchformer.transformer.encoder import Encoder
from scratchformer.transformer.initialization import initialize
from scratchformer.visualization.plots.style import BLUE, GREEN, ORANGE, VERMILLION

LAYERS, WIDTH = 24, 64


@torch.no_grad()
def sizes(kind: str) -> list[float]:
    """Standard deviation of the residual stream before the first layer and after each."""
    torch.manual_seed(0)
    ours = kind if kind in ("xavier", "depth_scaled") else "xavier"
    config = TransformerConfig(d_model=WIDTH, num_heads=4, d_ff=256, dropout=0.0,
                               norm_position="pre", initialization=ours)  # fmt: skip
    encoder = Encoder(config, LAYERS)
    initialize(encoder, config)
    for module in encoder.modules():
        if isinstance(module, nn.Linear) and kind == "N(0, 1)":
            nn.init.normal_(module.weight)
        elif isinstance(module, nn.Linear) and kind == "N(0, 0.02²)":
            nn.init.normal_(module.weight, std=0.02)
    stream: list[Tensor] = [torch.randn(8, 16, WIDTH)]
    for layer in encoder.layers:
        stream.append(layer(stream[-1], None))
    return [float(x.std()) for x in stream]


def draw() -> Figure:
    kinds = (
        ("N(0, 1)", VERMILLION, "^:"),
        ("xavier", BLUE, "o-"),
        ("depth_scaled", GREEN, "D-."),
        ("N(0, 0.02²)", ORANGE, "s--"),
    )
    figure = Figure(figsize=(8.0, 3.4), layout="constrained")
    ax = figure.subplots()
    for kind, colour, style in kinds:
        ax.plot(range(LAYERS + 1), sizes(kind), style, color=colour, label=kind, markersize=4)
    ax.set_yscale("log")
    ax.set_yticks([1, 10, 100, 1000], ["1", "10", "100", "1000"])
    ax.set(xlabel="layers passed", ylabel="standard deviation of x",
           title="the residual stream at initialisation, pre-norm")  # fmt: skip
    ax.legend()
    return figure
