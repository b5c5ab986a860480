"""The validation loss against the learning rate, on a logarithmic grid, for three seeds."""

import statistics
import tempfile
from pathlib import Path

from matplotlib.figure import Figure
from trainer import curve, make_training, run_quietly

from scratchformer.visualization.plots.style import BLUE, GREY, ORANGE, VERMILLION

RATES = [0.001 * 2**power for power in range(7)]
SEEDS, STEPS = (1, 2, 3), 80
SHOWN = ((RATES[1], ORANGE, ":"), (RATES[4], BLUE, "-"), (RATES[6], VERMILLION, "--"))


def final_loss(rate: float, seed: int) -> tuple[float, tuple[list[int], list[float]]]:
    """Of validation; and the curve of the training loss."""
    with tempfile.TemporaryDirectory() as folder:
        training = make_training(Path(folder), seed, learning_rate=rate, max_steps=STEPS,
                                 validate_every=STEPS, warmup_steps=10)  # fmt: skip
        run_quietly(training)
        return training.state.best_values["loss"], curve(training, "train", "loss")


def draw() -> Figure:
    runs = {rate: [final_loss(rate, seed) for seed in SEEDS] for rate in RATES}
    figure = Figure(figsize=(9.2, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for rate, each in runs.items():
        left.plot([rate] * len(SEEDS), [loss for loss, _ in each], "o", color=GREY, markersize=4)
    means = [statistics.mean(loss for loss, _ in each) for each in runs.values()]
    left.plot(RATES, means, color=BLUE, label="mean of 3 seeds")
    left.plot([], [], "o", color=GREY, markersize=4, label="one seed")
    left.set_xscale("log", base=2)
    left.set_xticks(RATES, [f"{rate:.3f}" for rate in RATES])
    left.set(xlabel="learning rate, each twice the one before", ylabel="validation loss",
             title=f"after {STEPS} updates")  # fmt: skip
    left.legend(loc="upper center")
    for rate, colour, style in SHOWN:
        curves = [values for _, (_, values) in runs[rate]]
        steps = runs[rate][0][1][0]
        columns = list(zip(*curves, strict=True))
        middle = [statistics.mean(column) for column in columns]
        right.plot(steps, middle, style, color=colour, label=f"{rate:.3f}")
        right.fill_between(steps, list(map(min, columns)), list(map(max, columns)), color=colour,
                           alpha=0.2)  # fmt: skip
    right.set(xlabel="update", ylabel="training loss", title="three of these rates on the way")
    right.legend(title="learning rate", loc="upper right")
    return figure
