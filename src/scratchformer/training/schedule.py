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


CYCLE = 0.9  # of the way down is the cycle's; the rest goes below where a cycle would begin
BASE = 1 / 25  # of the peak: where a cycle would begin, as torch's OneCycleLR has it


def one_cycle(place: Place) -> float:
    """Up, down, and out (Smith & Topin 2018): the warm-up is the way up, better a long one.

    A straight line down to 1/25 of the peak, then in the last tenth of the way down to zero. The
    large rates in the middle of the training regularise, the small ones at the end settle.
    """
    if place.done < CYCLE:
        return 1 - (1 - BASE) * place.done / CYCLE
    return BASE * (1 - place.done) / (1 - CYCLE)


DECAY = 0.2  # Hägele et al. 2024, section 3: a fifth of the updates is as good as half of them


def warmup_stable_decay(place: Place) -> float:
    """The peak until the last fifth of the way, then 1 - √(share of it) down to zero.

    Hu et al. 2024 (MiniCPM), with the decay that Hägele et al. 2024 found best. Up to the decay
    nothing depends on `max_steps`, so one long training can end in several places.
    """
    return 1 - math.sqrt(max(0.0, (place.done - (1 - DECAY)) / DECAY))


SCHEDULES: Registry[Callable[[Place], float]] = Registry(
    "schedule",
    {
        schedule.__name__: schedule
        for schedule in (inverse_sqrt, cosine, linear, constant, one_cycle, warmup_stable_decay)
    },
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
