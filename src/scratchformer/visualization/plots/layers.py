"""Layer by step: where in the model the gradient is, and how fast each layer moves.

Data in is diagnostics.csv of a training: `step`, and columns `<layer>.<quantity>`.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from scratchformer.visualization.plots.style import ORDERED, PAGE_WIDTH, styled

PANELS = (
    ("gradient_norm", "gradient norm, log10"),
    ("update_ratio", "update / weight, log10"),
)
LEAST = 1e-12
DECADES = 3  # below the median; the last update of a schedule that ends at 0 lies far lower


@styled
def layer_map(diagnostics: pd.DataFrame, title: str) -> Figure:
    """Two maps with one row a layer, inputs at the top, and one column a diagnosis."""
    suffix = f".{PANELS[0][0]}"
    layers = [c.removesuffix(suffix) for c in diagnostics.columns if c.endswith(suffix)]
    height = 1.3 + 0.24 * len(layers)
    figure = Figure(figsize=(PAGE_WIDTH, height), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left")
    steps = diagnostics["step"]
    shown = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), 6)).round().astype(int))
    for place, (quantity, label) in enumerate(PANELS, 1):
        values = diagnostics[[f"{layer}.{quantity}" for layer in layers]].to_numpy(float).T
        if quantity == "gradient_norm":
            values = np.log10(np.maximum(values, LEAST))
        axes = figure.add_subplot(1, 2, place, xlabel="updates")
        axes.grid(visible=False)
        floor = max(values.min(), np.median(values) - DECADES)
        image = axes.imshow(
            values, aspect="auto", cmap=ORDERED, interpolation="nearest", vmin=floor
        )
        axes.set_xticks(shown, [f"{steps.iloc[index]:,}" for index in shown])
        axes.set_yticks(range(len(layers)), layers if place == 1 else [])
        beyond = "min" if values.min() < floor else "neither"
        figure.colorbar(image, ax=axes, label=label, extend=beyond)
    return figure
