"""What the terminal shows when a training from scratch is over."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scratchformer.base.terminal import Summary
from scratchformer.explanation.curves import explain_curves
from scratchformer.explanation.layers import explain_layers
from scratchformer.monitoring.history import read_history
from scratchformer.params import TrainScratch


def summarize_training(
    results: Mapping[str, Any], history: Path, model: Path, settings: TrainScratch
) -> Summary:
    """The table that ends the stage.

    Args:
        results: contents of training.json.
        history: folder with the curves.
        model: folder of the model, only named.
        settings: section `train_scratch`.
    """
    train, valid, layers = (
        read_history(history / f"{name}.csv") for name in ("train", "valid", "diagnostics")
    )
    parts = (settings.loss.included, "label smoothing" if settings.label_smoothing else "")
    included = " and ".join(part for part in parts if part)
    explained = explain_curves(train, valid, results["stop_reason"], included)
    explained += explain_layers(layers)
    steps, best, reason = results["steps"], results["best_step"], results["stop_reason"]
    rows = [
        ("parameters", f"{results['parameters']:,}"),
        ("updates", f"{steps:,}, best after {best:,} ({reason})"),
        *((f"validation {name}", f"{value:.4f}") for name, value in results["valid"].items()),
        *(("in words", line) for line in explained),
    ]
    return Summary("train_scratch", rows, [model, history])
