"""Which learning rates are worth trying."""

import math

import numpy as np
from torch import nn

from scratchformer.training.gates.subject import LENGTH, ROWS, Subject, cut
from scratchformer.training.optimizers.optimizer import make_optimizer, set_learning_rate

LOWEST, HIGHEST, STEPS = 1e-5, 1.0, 40
WARN_BEYOND = 10.0  # times outside of the bracket: then a warning


def learning_rate(subject: Subject) -> str:
    """Smith 2017, §3.3: let the rate grow at every update, and see where the loss falls and rises.

    A suggestion, never red: so short a test, without the warm-up and the schedule of the
    training, tells the order of magnitude and no more.
    """
    low, high = rate_bracket(subject)
    chosen = subject.settings.optimizer.learning_rate
    suggestion = f"rates of {low:.0e} to {high:.0e} look good"
    if chosen > high * WARN_BEYOND or chosen < low / WARN_BEYOND:
        subject.warnings.append(
            f"train_scratch.optimizer.learning_rate is {chosen:g}, but in the range test the loss "
            f"fell between {low:.0e} and {high:.0e}"
        )
    return f"{suggestion}; the peak is {chosen:g}"


def rate_bracket(subject: Subject) -> tuple[float, float]:
    """(low, high): a tenth of the fall is made at `low`; at 3 times `high` the loss is lowest."""
    trial = subject.objective.for_trial()
    optimizer = make_optimizer(trial.model, subject.settings.optimizer)
    longest = min(LENGTH, trial.model.config.max_length)
    rates = np.geomspace(LOWEST, HIGHEST, STEPS).tolist()
    losses: list[float] = []
    average = 0.0
    for step, rate in enumerate(rates):
        records = subject.batches.batch(step).records[: 2 * ROWS]
        batch = cut(subject.batches.collate(records), longest, subject.pad_id)
        loss = trial.backward(batch, batch.tokens) / batch.tokens
        # An average that forgets, corrected for its beginning at zero as Adam's moments are.
        average = 0.8 * average + 0.2 * loss
        smoothed = average / (1 - 0.8 ** (step + 1))
        if not math.isfinite(smoothed) or (losses and smoothed > 2 * losses[0]):
            break
        losses.append(smoothed)
        nn.utils.clip_grad_norm_(trial.model.parameters(), subject.settings.clip_norm, foreach=True)
        set_learning_rate(optimizer, rate)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    if not losses:
        return LOWEST, LOWEST
    lowest = int(np.argmin(losses))
    tenth = losses[0] - 0.1 * (losses[0] - losses[lowest])
    first = next(place for place, loss in enumerate(losses) if loss <= tenth)
    high = rates[lowest] / 3
    return min(rates[first], high), high
