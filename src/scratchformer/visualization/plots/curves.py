"""What happened during a training: losses, learning rate, gradients, scores, and every layer.

Data in are the histories that the trainings write: `train` with the columns `step, loss,
learning_rate, gradient_norm`, `valid` with `step, loss` and one column a score, `diagnostics` with
`step` and columns `<layer>.<quantity>`.
"""

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from scratchformer.visualization.plots.style import (
    GREY,
    NORMAL,
    ORDERED,
    PAGE_WIDTH,
    SMALL,
    TRAIN,
    VALID,
    styled,
)

_WIDE = (PAGE_WIDTH * 0.8, 3.4)
# Quantity, what the panel is called, what its colours mean.
_LAYER_PANELS = (
    ("gradient_norm", "length of the gradient", "log10"),
    ("update_ratio", "size of one update", "log10 of update / weights"),
)
_LEAST = 1e-12
_DECADES = 3  # below the median; the last update of a schedule that ends at 0 lies far lower


@styled
def loss_curve(train: pd.DataFrame, valid: pd.DataFrame, title: str, unit: str) -> Figure:
    """Training objective and validation loss against updates; the best validation is marked.

    `unit` names what one loss is an average of ("nats per target token").
    """
    figure = Figure(figsize=_WIDE)
    axes = figure.add_subplot(title=title, xlabel="updates", ylabel=f"loss, {unit}")
    if _has(train, "loss"):
        label = "training objective"
        axes.plot(train["step"], train["loss"], color=TRAIN, marker=_dot(train), label=label)
    if _has(valid, "loss"):
        best = valid.iloc[int(valid["loss"].argmin())]
        label = f"validation, lowest {best['loss']:.3g} at update {best['step']:,.0f}"
        axes.plot(
            valid["step"], valid["loss"], color=VALID, marker="o", markersize=4, label=label
        )
        axes.axvline(best["step"], color=GREY, linewidth=1, linestyle=":")
    axes.legend(loc="upper right")
    return figure


@styled
def learning_rate_curve(train: pd.DataFrame, title: str) -> Figure:
    """The learning rate that each update used."""
    figure = Figure(figsize=_WIDE)
    axes = figure.add_subplot(title=title, xlabel="updates", ylabel="learning rate")
    axes.plot(train["step"], train["learning_rate"], color=TRAIN, marker=_dot(train))
    axes.set_ylim(bottom=0)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=False)
    return figure


@styled
def gradient_norm_curve(train: pd.DataFrame, title: str, clip_norm: float | None) -> Figure:
    """Norm of the whole gradient before clipping, on a logarithmic axis, with the clipping line.

    Norms that are not finite cannot be drawn; their number is written into the picture.
    """
    norms = train["gradient_norm"].astype(float)
    drawn = norms.map(math.isfinite) & (norms > 0)
    figure = Figure(figsize=_WIDE)
    axes = figure.add_subplot(title=title, xlabel="updates", ylabel="global gradient norm")
    axes.plot(train["step"][drawn], norms[drawn], color=TRAIN, marker=_dot(train), linewidth=1.2)
    if drawn.any():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    if clip_norm is not None:
        share = float((norms[drawn] > clip_norm).mean()) if drawn.any() else 0.0
        axes.axhline(
            clip_norm,
            color=VALID,
            linestyle="--",
            linewidth=1.2,
            label=f"clipped to {clip_norm:g} ({share:.0%} of the logged updates)",
        )
        axes.legend(loc="best")  # spikes may reach any corner
    if not drawn.all():
        axes.text(
            0.01, 0.02, f"{int((~drawn).sum())} logged updates without a finite norm",
            transform=axes.transAxes, color=VALID, fontsize=SMALL,
        )  # fmt: skip
    return figure


@styled
def score_curves(valid: pd.DataFrame, title: str) -> Figure:
    """One small panel for every score of the validation split but the loss."""
    names = [name for name in valid.columns if name not in ("step", "loss", "epoch")]
    columns = min(len(names), 4)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(columns * PAGE_WIDTH / 4, 2.3 * rows), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left")
    for index, name in enumerate(names, 1):
        axes = figure.add_subplot(rows, columns, index, xlabel="updates")
        axes.set_title(name.replace("_", " "), fontsize="medium")
        axes.plot(valid["step"], valid[name], color=VALID, marker="o", markersize=4)
        axes.locator_params(axis="x", nbins=4)
        if len(valid) == 1:
            axes.set_xticks(valid["step"])
    return figure


@styled
def layer_map(diagnostics: pd.DataFrame, title: str) -> Figure:
    """Two maps with one row a layer, inputs at the top, and one column a diagnosis."""
    suffix = f".{_LAYER_PANELS[0][0]}"
    layers = [c.removesuffix(suffix) for c in diagnostics.columns if c.endswith(suffix)]
    height = 1.3 + 0.24 * len(layers)
    figure = Figure(figsize=(PAGE_WIDTH, height), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left")
    steps = diagnostics["step"]
    shown = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), 6)).round().astype(int))
    for place, (quantity, title_of_panel, label) in enumerate(_LAYER_PANELS, 1):
        values = diagnostics[[f"{layer}.{quantity}" for layer in layers]].to_numpy(float).T
        if quantity == "gradient_norm":
            values = np.log10(np.maximum(values, _LEAST))
        axes = figure.add_subplot(1, 2, place, xlabel="updates")
        axes.set_title(title_of_panel, fontsize=NORMAL)
        axes.grid(visible=False)
        floor = max(values.min(), np.median(values) - _DECADES)
        image = axes.imshow(
            values, aspect="auto", cmap=ORDERED, interpolation="nearest", vmin=floor
        )
        axes.set_xticks(shown, [f"{steps.iloc[index]:,}" for index in shown])
        axes.set_yticks(range(len(layers)), layers if place == 1 else [])
        beyond = "min" if values.min() < floor else "neither"
        figure.colorbar(image, ax=axes, label=label, extend=beyond)
    return figure


def _has(history: pd.DataFrame, column: str) -> bool:
    return column in history and bool(history[column].notna().any())


def _dot(history: pd.DataFrame) -> str:
    """One point is no line: draw it as a dot."""
    return "o" if len(history) == 1 else ""
