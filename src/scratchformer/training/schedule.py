"""Learning rates as pure functions of the step: no state to save, nothing to restore.

All schedules rise linearly to the peak in `warmup_steps` updates. Adam's second moments are poor
estimates in the first updates; small steps keep them from throwing the weights about.
"""

import math
from typing import Literal

ScheduleName = Literal["inverse_sqrt", "cosine", "linear", "constant"]


def learning_rate(
    step: int, schedule: ScheduleName, peak: float, warmup_steps: int, max_steps: int
) -> float:
    """The learning rate of update `step`, counted from 1.

    - inverse_sqrt: Vaswani et al. 2017, eq. 3, with the peak given instead of implied. The paper's
      d_model**-0.5 * min(step**-0.5, step * warmup**-1.5) is this with
      peak = (d_model * warmup)**-0.5.
    - cosine: half a cosine from the peak at `warmup_steps` to zero after `max_steps`
      (Loshchilov & Hutter 2017, eq. 5, without restarts).
    - linear: a straight line between the same two points.
    - constant: the peak for ever.

    Zero would be reached at `max_steps + 1`: the last update still learns something.
    """
    if step < 1:
        raise ValueError(f"updates are counted from 1, found {step}")
    if step <= warmup_steps:
        return peak * step / warmup_steps
    if schedule == "constant":
        return peak
    if schedule == "inverse_sqrt":
        return peak * math.sqrt(max(warmup_steps, 1) / step)
    done = min((step - warmup_steps) / (max_steps + 1 - warmup_steps), 1.0)
    if schedule == "linear":
        return peak * (1 - done)
    return peak * 0.5 * (1 + math.cos(math.pi * done))
