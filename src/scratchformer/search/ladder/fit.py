"""Loss as a power law of compute (Kaplan et al. 2020, arXiv:2001.08361; with the floor of Henighan
et al. 2020, arXiv:2010.14701, equation 1.1):

    L(C) = L∞ + a · (C / C₁)^-b        C₁: compute of the largest training

The uncertainty of a prediction is that of a residual bootstrap: the fitted losses get the residuals
of all points, drawn with repetition and widened by √(n / (n - 3)) for the three fitted numbers, and
the curve is fitted again. It covers seeds and the misfit that the points show; it cannot know
whether the law goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scratchformer.runtime.randomness import derive_seed

Floats = NDArray[np.float64]
CONFIDENCE = 0.95
_DRAWS = 1000
_EXPONENTS, _GRID = (0.01, 2.0), 60


@dataclass(frozen=True)
class Interval:
    """A value and the ends of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Law:
    """A fitted curve and those of the bootstrap.

    Attributes:
        compute: C₁.
        numbers: [3] L∞, a, b.
        drawn: [draws, 3] the same of each draw.
    """

    compute: float
    numbers: Floats
    drawn: Floats

    def at(self, compute: float) -> Interval:
        """The predicted loss."""
        x = compute / self.compute
        value = float(_loss(x, *self.numbers))
        return self._interval(value, [float(_loss(x, *numbers)) for numbers in self.drawn])

    @property
    def floor(self) -> Interval:
        """L∞, the loss that no compute gets below."""
        return self._interval(float(self.numbers[0]), self.drawn[:, 0])

    @property
    def exponent(self) -> Interval:
        """b: ten times the compute divides what is above the floor by 10^b."""
        return self._interval(float(self.numbers[2]), self.drawn[:, 2])

    def _interval(self, value: float, drawn: Sequence[float] | Floats) -> Interval:
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(drawn, [tail, 1 - tail])
        return Interval(value, float(low), float(high))


def fit_law(compute: Sequence[float], loss: Sequence[float]) -> Law:
    """Fit the law to points; of each compute there may be several (seeds). Four points at least."""
    x = np.asarray(compute, float)
    largest = float(x.max())
    x, y = x / largest, np.asarray(loss, float)
    numbers = _fit(x, y[None])[0]
    fitted = _loss(x, *numbers)
    residuals = (y - fitted) * np.sqrt(len(y) / (len(y) - len(numbers)))
    random = np.random.default_rng(derive_seed(0, "search"))
    again = fitted + random.choice(residuals, (_DRAWS, len(y)))
    return Law(largest, numbers, _fit(x, again))


def _loss(x: Floats | float, floor: float, a: float, b: float) -> Floats:
    return np.asarray(floor + a * np.power(x, -b))


def _fit(x: Floats, y: Floats) -> Floats:
    """Least squares of each row of y [draws, n] within 0 ≤ L∞ ≤ lowest loss, 0 ≤ a, 0 < b ≤ 2.

    For a given b the law is a straight line in x^-b, whose best ends are known: so b alone is
    searched, over a grid that is drawn three times, each time around the best of the last.
    """
    low, high = np.full(len(y), _EXPONENTS[0]), np.full(len(y), _EXPONENTS[1])
    rows = np.arange(len(y))
    for _ in range(3):
        grid = np.geomspace(low, high, _GRID, axis=1)  # [draws, grid]
        z = x ** -grid[..., None]  # [draws, grid, n]
        target = y[:, None, :]
        centred = z - z.mean(-1, keepdims=True)
        a = (centred * target).sum(-1) / (centred**2).sum(-1)
        floor = (target.mean(-1) - a * z.mean(-1)).clip(0, y.min(-1)[:, None])
        a = ((z * (target - floor[..., None])).sum(-1) / (z**2).sum(-1)).clip(0)
        cost = ((floor[..., None] + a[..., None] * z - target) ** 2).sum(-1)
        best = cost.argmin(-1)
        low, high = grid[rows, (best - 1).clip(0)], grid[rows, (best + 1).clip(max=_GRID - 1)]
    return np.stack([each[rows, best] for each in (floor, a, grid)], axis=1)
