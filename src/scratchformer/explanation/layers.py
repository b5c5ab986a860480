"""What diagnostics.csv says about the layers of a model, in words."""

from collections.abc import Mapping

from scratchformer.explanation.curves import Rows

SPREAD = 1000.0  # ratio between the gradients of two layers of one stack
STILL, WILD = -5.0, -1.0  # log10 of update / weight


def explain_layers(diagnostics: Rows) -> list[str]:
    """Vanishing or exploding gradients, layers that change too little or too much, dead units.

    Only the last row counts.
    """
    if not diagnostics:
        return []
    row = diagnostics[-1]
    lines = []
    for stack in ("encoder", "decoder"):
        norms = {
            layer: value for layer, value in _of(row, "gradient_norm").items()
            if layer.startswith(f"{stack}.") and layer.split(".")[1].isdigit()
        }  # fmt: skip
        if len(norms) < 2:
            continue
        first, *_, last = norms
        # From the loss backwards: from the last layer to the first.
        if norms[first] * SPREAD < norms[last]:
            lines.append(
                f"gradients vanish in the {stack}: {norms[first]:.1e} in {first} against "
                f"{norms[last]:.1e} in {last}; try norm_position: pre, fewer layers, or "
                "initialization: depth_scaled"
            )
        elif norms[first] > SPREAD * norms[last]:
            lines.append(
                f"gradients explode in the {stack}: {norms[first]:.1e} in {first} against "
                f"{norms[last]:.1e} in {last}; try a lower learning_rate, a longer warm-up, "
                "norm_position: pre, or a smaller clip_norm"
            )
    ratios = _of(row, "update_ratio")
    wild = [layer for layer, ratio in ratios.items() if ratio > WILD]
    still = [layer for layer, ratio in ratios.items() if ratio < STILL]
    if wild:
        lines.append(
            f"weights that change by more than a tenth in one update: {', '.join(wild)}; try a "
            "lower learning_rate"
        )
    if still and len(still) < len(ratios):  # all of them: a schedule that has come to its end
        lines.append(f"learning much less than the other layers: {', '.join(still)}")
    dead = {layer: share for layer, share in _of(row, "dead_units").items() if share > 0.5}
    if dead:
        shown = ", ".join(f"{layer} {share:.0%}" for layer, share in dead.items())
        lines.append(
            f"units that are zero at every token: {shown}; try activation: gelu or a lower "
            "learning_rate"
        )
    return lines


def _of(row: Mapping[str, float], quantity: str) -> dict[str, float]:
    """Layer → value of one quantity."""
    suffix = f".{quantity}"
    return {key.removesuffix(suffix): row[key] for key in row if key.endswith(suffix)}
