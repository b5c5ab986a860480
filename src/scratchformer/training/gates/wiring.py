"""Gates that need no training: who can see what, and what learns."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from scratchformer.data.tokenized.columns import Ids
from scratchformer.training.gates.subject import RedGateError, Subject
from scratchformer.transformer.fused_linear import FusedLinear

LOGIT_TOLERANCE = 1e-4  # of the largest logit: what another order of the same sums may change
MORE_PADDING = 2  # tokens, at most


@torch.no_grad()
def future(subject: Subject) -> str:
    """Change the target from some token on: what is predicted up to there must stay the same."""
    trial, few = subject.objective.for_trial(), subject.few
    assert few.target is not None
    before = _by_position(trial.predict(few)[0], few.target, subject.pad_id)
    length = few.target.shape[1]
    for first in range(length):
        target = few.target.copy()
        target[:, first:] = _others(target[:, first:], subject)
        after = _by_position(trial.predict(replace(few, target=target))[0], target, subject.pad_id)
        change = _difference(before[:, : first + 1], after[:, : first + 1])
        if change > LOGIT_TOLERANCE:
            raise RedGateError(
                f"changing the target tokens from position {first + 1} on changes the predictions "
                f"before it by {change:.1g} of the largest logit"
            )
    return f"tried at {length} positions"


@torch.no_grad()
def padding(subject: Subject) -> str:
    """Fill the rows up further: predictions and loss must stay the same."""
    trial, few = subject.objective.for_trial(), subject.few
    before, _ = trial.predict(few)
    wider = {"source": replace(few, source=_wider(few.source, subject))}
    if few.target is not None:
        wider["target"] = replace(few, target=_wider(few.target, subject))
    for side, batch in wider.items():
        after, _ = trial.predict(batch)
        if len(after) != len(before):
            raise RedGateError(
                f"padding added behind each {side} adds "
                f"{len(after) - len(before)} predictions"
            )
        change = _difference(before, after)
        if change > LOGIT_TOLERANCE:
            raise RedGateError(
                f"padding added behind each {side} changes the predictions by "
                f"{change:.1g} of the largest logit"
            )
    return "predictions and loss stay the same with more of it"


@torch.no_grad()
def encoder_used(subject: Subject) -> str:
    """Give one row another source: its predictions must change, and those of no other row."""
    trial, few = subject.objective.for_trial(), subject.few
    assert few.target is not None
    before = _by_position(trial.predict(few)[0], few.target, subject.pad_id)
    for row in range(len(few.source)):
        source = few.source.copy()
        source[row] = _others(source[row], subject)
        after = _by_position(
            trial.predict(replace(few, source=source))[0], few.target, subject.pad_id
        )
        if _difference(before[row], after[row]) <= LOGIT_TOLERANCE:
            raise RedGateError(f"a new source in row {row + 1} does not change its predictions")
        others = np.arange(len(source)) != row
        if _difference(before[others], after[others]) > LOGIT_TOLERANCE:
            raise RedGateError(f"a new source in row {row + 1} changes predictions of other rows")
    return "a new source changes the predictions of its row only"


def gradients(subject: Subject) -> str:
    """One backward pass: every parameter, W^Q, W^K and W^V apart, must learn something."""
    trial, batch = subject.objective.for_trial(), subject.batch
    trial.backward(batch, batch.tokens)
    none, broken, count = [], [], 0
    for name, gradient in _gradients(trial.model):
        count += 1
        if gradient is None or not gradient.any():
            none.append(name)
        elif not gradient.isfinite().all():
            broken.append(name)
    # One place has no choice where to look: its queries and keys have no gradient, rightly.
    lone = (["encoder.", "cross_attention"] if batch.source.shape[1] < 2 else []) + (
        ["decoder."] if batch.target is not None and batch.target.shape[1] < 2 else []
    )
    none = [name for name in none if not (_chooses(name) and any(part in name for part in lone))]
    if none or broken:
        parts = [f"no gradient: {_listed(none)}"] if none else []
        parts += [f"gradient not finite: {_listed(broken)}"] if broken else []
        raise RedGateError("; ".join(parts))
    return f"all {count} gradients are finite and not zero"


def _gradients(model: nn.Module) -> Iterator[tuple[str, Tensor | None]]:
    """Name and gradient of what can be trained.

    The bias of the keys is left out: it adds the same to all scores of a query, and softmax does
    not see that, so its gradient is zero but for rounding.
    """
    modules = model.named_modules()
    fused = {name: module for name, module in modules if isinstance(module, FusedLinear)}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        layer, _, kind = name.rpartition(".")
        if layer not in fused or parameter.grad is None:
            yield name, parameter.grad
            continue
        for part, piece in fused[layer].split_rows(parameter.grad).items():
            if (part, kind) != ("key", "bias"):
                yield f"{name} ({part})", piece


def _chooses(name: str) -> bool:
    return name.endswith(("(query)", "(key)", "cross_attention.query.weight", "query.bias"))


def _listed(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _wider(ids: Ids, subject: Subject) -> Ids:
    """More padding behind each row, as far as the model has positions for it."""
    room = subject.objective.model.config.max_length - ids.shape[1]
    more = min(MORE_PADDING, room)
    return np.pad(ids, ((0, 0), (0, more)), constant_values=subject.pad_id)


def _others(ids: Ids, subject: Subject) -> Ids:
    """Another ordinary token in place of each; padding stays padding."""
    config = subject.objective.model.config
    vocabulary = min(filter(None, (config.source_vocab_size, config.target_vocab_size)))
    first = max(config.pad_id, config.bos_id, config.eos_id) + 1
    other = first + (ids - first + 1) % max(vocabulary - first, 1)
    return np.where(ids == subject.pad_id, ids, other)


def _by_position(logits: Tensor, target: Ids, pad_id: int) -> Tensor:
    """[tokens, classes] → [rows, places, classes], zero at padding.

    A model that, wrongly, predicts padding too has an answer for every place.
    """
    if len(logits) == target.size:
        return logits.view(*target.shape, -1)
    places = logits.new_zeros(*target.shape, logits.shape[-1])
    places[torch.from_numpy(target != pad_id).to(logits.device)] = logits
    return places


def _difference(before: Tensor, after: Tensor) -> float:
    """Largest difference as a share of the largest logit; NaN counts as a difference."""
    if not before.numel():
        return 0.0
    change = (after - before).abs().max() / before.abs().max().clamp(min=1e-9)
    return float(change.nan_to_num(nan=torch.inf))
