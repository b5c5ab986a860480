"""Learning rates as pure functions of the step: no state to save, nothing to restore.

All schedules rise linearly to the peak in `warmup_steps` updates. Adam's second moments are poor
estimates in the first updates; small steps keep them from throwing the weights about. What comes
after the warm-up is one function a schedule, of the update that is made and of where it stands.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from scratchformer.base.registry import Registry


@dataclass(frozen=True)
class Place:
    """Where an update after the warm-up stands. Updates are counted from 1."""

    step: int
    warmup_steps: int
    max_steps: int

    @property
    def done(self) -> float:
        """Share of the way from the end of the warm-up to the update after the last, 0 to 1.

        The last update itself is below 1: it still learns something.
        """
        return min((self.step - self.warmup_steps) / (self.max_steps + 1 - self.warmup_steps), 1.0)


def inverse_sqrt(place: Place) -> float:
    """Vaswani et al. 2017, eq. 3, with the peak given instead of implied.

    The paper's d_model**-0.5 * min(step**-0.5, step * warmup**-1.5) is this with
    peak = (d_model * warmup)**-0.5.
    """
    return math.sqrt(max(place.warmup_steps, 1) / place.step)


def cosine(place: Place) -> float:
    """Half a cosine down to zero (Loshchilov & Hutter 2017, eq. 5, without restarts)."""
    return 0.5 * (1 + math.cos(math.pi * place.done))


def linear(place: Place) -> float:
    """A straight line down to zero."""
    return 1 - place.done


def constant(place: Place) -> float:
    """The peak for ever."""
    return 1.0


SCHEDULES: Registry[Callable[[Place], float]] = Registry(
    "schedule",
    {schedule.__name__: schedule for schedule in (inverse_sqrt, cosine, linear, constant)},
)


def learning_rate(
    step: int, schedule: str, peak: float, warmup_steps: int, max_steps: int
) -> float:
    """The learning rate of update `step`, counted from 1.

    Raises:
        ParamsError: there is no such schedule.
    """
    share_of_peak = SCHEDULES[schedule]
    if step < 1:
        raise ValueError(f"updates are counted from 1, found {step}")
    if step <= warmup_steps:
        return peak * step / warmup_steps
    return peak * share_of_peak(Place(step, warmup_steps, max_steps))
