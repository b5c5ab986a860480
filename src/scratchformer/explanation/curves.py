"""What the curves of a training say, in words. Pure functions of the histories."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from scratchformer.monitoring.stop_reason import StopReason

Rows = Sequence[Mapping[str, float]]

PLATEAU = 0.005  # a smaller relative change of the validation loss counts as none
GAP = 0.2  # validation above training by this share: the model has memorised rows
LEARNED = 0.01  # nats a target: 99 % certain of each, and ratios of such losses mean nothing


def explain_curves(train: Rows, valid: Rows, stop_reason: StopReason, included: str) -> list[str]:
    """Best step, why it ended, the gap between the two losses, and whether it had stopped gaining.

    Args:
        train, valid: rows with `step` and `loss`.
        stop_reason: a training that stopped early is not said to need more updates.
        included: what the training loss has in it and validation has not, say "label smoothing".
    """
    if not valid or not train:
        return []
    best = min(valid, key=lambda row: row["loss"])
    last = valid[-1]
    lines = [f"best after {best['step']:,.0f} of {last['step']:,.0f} updates"]
    if stop_reason is StopReason.PATIENCE:
        lines[0] += "; ended early, no validation after it was better"
    training = train[-1]["loss"]
    if included:
        lines.append(
            f"training objective {training:.3f} ({included} included), validation "
            f"{last['loss']:.3f} (without)"
        )
    else:
        lines.append(f"training loss {training:.3f}, validation {last['loss']:.3f} at the end")
    if last["loss"] < LEARNED:
        lines.append("learned: hardly any doubt is left on rows that it never saw")
        return lines
    if last["loss"] > best["loss"] * (1 + PLATEAU) and last["loss"] > training * (1 + GAP):
        lines.append(
            "overfitting: validation rises while training goes on falling; more dropout, more "
            "data, fewer updates, or a smaller model"
        )
    elif not included and last["loss"] > training * (1 + GAP):
        lines.append(
            f"validation is {last['loss'] / training - 1:.0%} above training: some of it is "
            "memorised; more dropout or more data"
        )
    if len(valid) >= 3:
        gains = [1 - after["loss"] / before["loss"] for before, after in pairwise(valid[-3:])]
        if all(abs(gain) < PLATEAU for gain in gains):
            lines.append(
                f"plateau: the last two validations changed the loss by less than {PLATEAU:.1%}; "
                "more updates will not help"
            )
        elif best is last and gains[-1] > 4 * PLATEAU and stop_reason is StopReason.MAX_STEPS:
            lines.append(
                f"still falling by {gains[-1]:.0%} a validation: more updates would help"
            )
    return lines
