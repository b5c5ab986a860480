"""What the curves of a training say, in words. Pure functions of the histories."""

import csv
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from scratchformer.monitoring.stop_reason import StopReason

Rows = Sequence[Mapping[str, float]]

PLATEAU = 0.005  # a change of the validation loss below this share of it is none
GAP = 0.2  # validation above training by this share: learning by heart
SPREAD = 1000.0  # between the gradients of two layers of one stack
STILL, WILD = -5.0, -1.0  # log10 of update / weight


def read_history(path: Path) -> list[dict[str, float]]:
    """Rows of one of the files of history.py, as numbers."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{key: float(cell) for key, cell in row.items()} for row in csv.DictReader(file)]


def explain_curves(
    train: Rows, valid: Rows, stop_reason: StopReason, smoothed: bool
) -> list[str]:
    """Best step, why it ended, the gap between the two losses, and whether it had stopped gaining.

    Args:
        train, valid: rows with `step` and `loss`.
        stop_reason: whether more updates were refused or had come to their end.
        smoothed: whether the training loss includes label smoothing, which keeps it high.
    """
    if not valid or not train:
        return []
    best = min(valid, key=lambda row: row["loss"])
    last = valid[-1]
    told = [f"best after {best['step']:,.0f} of {last['step']:,.0f} updates"]
    if stop_reason == StopReason.PATIENCE:
        told[0] += "; ended early, no validation after it was better"
    training = train[-1]["loss"]
    if smoothed:
        told.append(
            f"training objective {training:.3f} (label smoothing included), validation "
            f"{last['loss']:.3f} (without)"
        )
    else:
        told.append(f"training loss {training:.3f}, validation {last['loss']:.3f} at the end")
    if last["loss"] > best["loss"] * (1 + PLATEAU) and last["loss"] > training * (1 + GAP):
        told.append(
            "overfitting: validation rises while training goes on falling; more dropout, more "
            "data, fewer updates, or a smaller model"
        )
    elif not smoothed and last["loss"] > training * (1 + GAP):
        told.append(
            f"validation is {last['loss'] / training - 1:.0%} above training: some of it is "
            "learned by heart; more dropout or more data"
        )
    if len(valid) >= 3:
        gains = [1 - after["loss"] / before["loss"] for before, after in pairwise(valid[-3:])]
        if all(abs(gain) < PLATEAU for gain in gains):
            told.append(
                f"plateau: the last two validations changed the loss by less than {PLATEAU:.1%}; "
                "more updates of this kind will not help"
            )
        elif best is last and gains[-1] > 4 * PLATEAU and stop_reason != StopReason.PATIENCE:
            told.append(
                f"still falling by {gains[-1]:.0%} a validation: more updates would help"
            )
    return told


def explain_layers(diagnostics: Rows) -> list[str]:
    """Vanishing and exploding gradients, still and wild layers, dead units; by the last row."""
    if not diagnostics:
        return []
    row = diagnostics[-1]
    told = []
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
            told.append(
                f"gradients vanish in the {stack}: {norms[first]:.1e} in {first} against "
                f"{norms[last]:.1e} in {last}; try norm_position: pre, fewer layers, or "
                "initialization: depth_scaled"
            )
        elif norms[first] > SPREAD * norms[last]:
            told.append(
                f"gradients explode in the {stack}: {norms[first]:.1e} in {first} against "
                f"{norms[last]:.1e} in {last}; try a lower learning_rate, a longer warm-up, "
                "norm_position: pre, or a smaller clip_norm"
            )
    ratios = _of(row, "update_ratio")
    wild = [layer for layer, ratio in ratios.items() if ratio > WILD]
    still = [layer for layer, ratio in ratios.items() if ratio < STILL]
    if wild:
        told.append(f"more than a tenth of itself changes in an update: {', '.join(wild)}; try a "
                    "lower learning_rate")  # fmt: skip
    if still and len(still) < len(ratios):  # all of them: a schedule that has come to its end
        told.append(f"hardly learning beside the others: {', '.join(still)}")
    dead = {layer: share for layer, share in _of(row, "dead_units").items() if share > 0.5}
    if dead:
        shown = ", ".join(f"{layer} {share:.0%}" for layer, share in dead.items())
        told.append(f"units that are zero at every token: {shown}; try activation: gelu or a "
                    "lower learning_rate")  # fmt: skip
    return told


def _of(row: Mapping[str, float], quantity: str) -> dict[str, float]:
    """Layer → value of one quantity."""
    suffix = f".{quantity}"
    return {key.removesuffix(suffix): row[key] for key in row if key.endswith(suffix)}
