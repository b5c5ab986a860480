"""The loss of every fine-tuning: cross-entropy, with smoothed labels and weights of classes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from scratchformer.pretrained.inference import NO_LABEL


def class_weights(labels: npt.NDArray[np.int64], classes: int) -> Tensor:
    """[classes] weights inverse to the frequency, 1 on average over the rows of `labels`."""
    counts = np.bincount(labels, minlength=classes)
    weights = len(labels) / (classes * np.maximum(counts, 1))
    return torch.from_numpy(weights.astype(np.float32))


def cross_entropy_loss(
    weights: Tensor | None, smoothing: float
) -> Callable[[Any, Tensor, Any], Tensor]:
    """Mean over all items of an update, in nats, of w(y) · Σ_k q(k|y) (-log p(k)).

    q puts 1 - ε on the label y and spreads ε over all K classes (Szegedy et al. 2016,
    https://arxiv.org/abs/1512.00567, section 7). The weight w(y) is that of the row, by its label.
    torch weighs each term of the sum by its own class instead: with classes 99 to 1 and ε 0.1 its
    optimum for a row of the frequent class puts 84% on the rare one.

    Args:
        weights: [classes] w, or None for 1; see `class_weights`.
        smoothing: ε.

    Returns:
        (outputs with `logits` [..., classes], labels [...], number of items) → loss. The number is
        that of the whole update, so that the losses of several passes or processes add up to the
        mean; labels NO_LABEL count for nothing.
    """

    def loss(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        labels = labels.flatten()
        items = cross_entropy(
            outputs.logits.flatten(0, -2), labels, label_smoothing=smoothing,
            ignore_index=NO_LABEL, reduction="none",
        )  # fmt: skip
        if weights is not None:
            items = items * weights.to(items.device)[labels.clamp(min=0)]
        mean: Tensor = items.sum() / num_items_in_batch
        return mean

    return loss
