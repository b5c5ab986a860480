"""Do intervals hold the truth? Rows that belong together, and two systems on the same rows."""

import numpy as np
from matplotlib.figure import Figure

from scratchformer.base.statistics import Floats, Sums
from scratchformer.evaluation.significance.bootstrap import bootstrap, bootstrap_difference
from scratchformer.evaluation.significance.resampling import GroupSums, Resampling
from scratchformer.visualization.plots.style import BLUE, GREY, ORANGE

ROWS, TRIALS = 480, 200
TRUTH = 0.7
SIZES = (1, 2, 4, 8, 16)
NOISES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)


def share(sums: Sums) -> Floats:
    return sums["right"] / sums["rows"]


def resampling(seed: int, resamples: int = 200) -> Resampling:
    return Resampling(resamples, confidence=0.95, seed=seed)


def coverage(size: int, random: np.random.Generator) -> tuple[float, float]:
    """How often the intervals by group and by row hold the truth, over simulated test sets."""
    groups = np.repeat(np.arange(ROWS // size), size)
    held = np.zeros((TRIALS, 2))
    for trial in range(TRIALS):
        chance = random.beta(1.4, 0.6, ROWS // size)[groups]  # mean 0.7, rows of a group alike
        right = {"right": random.random(ROWS) < chance}
        for column, unit in enumerate((groups, np.arange(ROWS))):
            sums = GroupSums.of(right, list(unit))
            drawn = bootstrap(sums, {"share": share}, resampling(trial))["share"]
            held[trial, column] = drawn.low <= TRUTH <= drawn.high
    by_group, by_row = held.mean(axis=0)
    return by_group, by_row


def widths(noise: float, random: np.random.Generator) -> tuple[float, float, float]:
    """Widths of the interval of a difference, paired and not; how often the systems agree."""
    hard, rows = random.random(ROWS), np.arange(ROWS)
    before = hard < 0.6
    after = (hard + random.normal(0, noise, ROWS)).argsort().argsort() < 0.65 * ROWS
    one, other = (GroupSums.of({"right": each}, list(rows)) for each in (after, before))
    paired = bootstrap_difference(one, other, {"share": share}, resampling(0, 2000))["share"]
    squares = 0.0
    for seed, each in enumerate((one, other)):
        alone = bootstrap(each, {"share": share}, resampling(seed, 2000))["share"]
        squares += (alone.high - alone.low) ** 2
    return paired.high - paired.low, squares**0.5, float((after == before).mean())


def draw() -> Figure:
    random = np.random.default_rng(0)
    figure = Figure(figsize=(9.2, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2)

    held = np.array([coverage(size, random) for size in SIZES])
    places = range(len(SIZES))
    left.axhline(0.95, color=GREY, linestyle=":", label="what they claim: 0.95")
    left.plot(places, held[:, 0], "o-", color=BLUE, label="groups drawn")
    left.plot(places, held[:, 1], "s--", color=ORANGE, label="rows drawn")
    left.set_xticks(places, map(str, SIZES))
    left.set(xlabel="rows of a group", ylabel="share of intervals with the truth", ylim=(0.4, 1.02),
             title="do intervals of 95% hold the truth?")  # fmt: skip
    left.legend(loc="lower left")

    paired, unpaired, agree = np.array([widths(noise, random) for noise in NOISES]).T
    right.plot(agree, unpaired, "s--", color=ORANGE, label="as if on different rows")
    right.plot(agree, paired, "o-", color=BLUE, label="paired: the same draws")
    right.set(xlabel="share of rows on which two systems agree", ylabel="width of the interval",
              ylim=(0, 0.16), title="interval of their difference")  # fmt: skip
    right.legend(loc="lower left")
    return figure
