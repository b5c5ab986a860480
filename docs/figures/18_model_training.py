"""A training that dies between two checkpoints and goes on, drawn on one that was left alone."""

import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

from matplotlib.figure import Figure
from trainer import curve, make_training, run_quietly

from scratchformer.training import loop
from scratchformer.visualization.plots.style import BLACK, BLUE, ORANGE, SKY, VERMILLION

STEPS, EVERY, DEATH, ROW = 180, 40, 100, 4
LAST = DEATH // EVERY * EVERY  # the last checkpoint before it
SETTINGS = {"dropout": 0.1, "label_smoothing": 0.1, "max_steps": STEPS, "validate_every": EVERY,
            "log_every": ROW}  # fmt: skip


class PowerCutError(Exception):
    """Nothing is saved when it comes."""


def die(values: Mapping[str, float], step: int) -> None:
    if step == DEATH:
        raise PowerCutError


def train(folder: Path, moments: bool = True) -> tuple[list[int], list[float]]:
    """To the end; without `moments`, the state of AdamW is forgotten when going on."""
    keep = loop.restore_optimizer if moments else lambda *_: None
    training = make_training(folder, **SETTINGS)
    with mock.patch.object(loop, "restore_optimizer", keep):
        run_quietly(training)
    return curve(training, "train", "loss")


def train_and_die(folder: Path) -> tuple[list[int], list[float]]:
    training = make_training(folder, hooks={"on_log": die}, **SETTINGS)
    with contextlib.suppress(PowerCutError):
        run_quietly(training)
    return curve(training, "train", "loss")


def draw() -> Figure:
    with tempfile.TemporaryDirectory() as name:
        alone, resumed, forgetful = (Path(name) / each for each in ("alone", "resumed", "forgets"))
        steps, whole = train(alone)
        validated = curve(make_training(alone, **SETTINGS), "valid", "loss")
        first = train_and_die(resumed)
        train_and_die(forgetful)
        _, again = train(resumed)
        _, other = train(forgetful, moments=False)

    figure = Figure(figsize=(9.2, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(steps, whole, color=SKY, linewidth=5, alpha=0.6, label="left alone")
    after = slice(LAST // ROW, None)
    left.plot(steps[after], again[after], color=BLUE, label=f"goes on from {LAST}")
    left.plot(*first, "--", color=VERMILLION, label=f"dies after {DEATH}")
    left.plot(*validated, "D", color=BLACK, markersize=5, label="validation, not smoothed")
    left.axvline(DEATH, color=VERMILLION, linewidth=0.8, linestyle=":")
    left.set(xlabel="update", ylabel="loss", ylim=(2.1, 4.2), title="two trainings, one curve")
    left.legend(loc="upper right")

    for values, label, colour, style in (
        (other, "without AdamW's moments", ORANGE, "--"),
        (again, "with them", BLUE, "-"),
    ):
        gap = [two - one for one, two in zip(whole, values, strict=True)]
        right.plot(steps[after], gap[after], style, color=colour, label=label)
    right.set(xlabel="update", ylabel="loss minus that of the first",
              title="difference after going on")  # fmt: skip
    right.legend()
    return figure
