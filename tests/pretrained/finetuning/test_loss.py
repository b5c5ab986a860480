"""The loss of a fine-tuning: its optimum, its weights, and where they lie."""

import numpy as np
import pytest
import torch

from scratchformer.pretrained.finetuning.loss import class_weights, cross_entropy_loss


class Outputs:
    def __init__(self, logits: torch.Tensor) -> None:
        self.logits = logits


def test_weights_do_not_move_the_optimum_of_a_row() -> None:
    """With classes 99 to 1 a frequent row's best probabilities are still 0.95 and 0.05."""
    weights = class_weights(np.array([0] * 99 + [1]), 2)
    for label in (0, 1):
        logits = torch.zeros(1, 2, requires_grad=True)
        optimizer = torch.optim.LBFGS([logits], max_iter=100, tolerance_grad=1e-9)

        def closure(logits=logits, optimizer=optimizer, label=label):
            optimizer.zero_grad()
            loss = cross_entropy_loss(weights, 0.1)(Outputs(logits), torch.tensor([label]), 1)
            loss.backward()
            return loss

        optimizer.step(closure)
        best = logits.detach().softmax(-1)[0]
        assert best[label].item() == pytest.approx(0.9 + 0.1 / 2, abs=1e-3)


def test_the_value_is_the_formula_and_adds_up_over_passes() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 2, -100, 1, 0])
    weights = torch.tensor([0.5, 2.0, 3.0])
    loss = cross_entropy_loss(weights, 0.2)
    total = 0.0
    for row, label in zip(logits, labels.tolist(), strict=True):
        if label >= 0:
            wanted = torch.full((3,), 0.2 / 3, dtype=torch.float64)
            wanted[label] += 0.8
            total -= float(weights[label] * (wanted * row.log_softmax(-1)).sum())
    whole = loss(Outputs(logits), labels, 4).item()
    assert whole == pytest.approx(total / 4)
    # Two processes or two passes of one update: each divides by the items of the whole.
    parts = [loss(Outputs(logits[part]), labels[part], 4).item() for part in ([0, 3], [1, 2, 4])]
    assert sum(parts) == pytest.approx(whole)
    alone = cross_entropy_loss(None, 0.0)(Outputs(logits), labels, 4).item()
    expected = torch.nn.functional.cross_entropy(logits, labels, reduction="sum").item() / 4
    assert alone == pytest.approx(expected)


def test_weights_follow_the_logits_to_their_device() -> None:
    """`meta` stands for a GPU: torch refuses to mix it with the CPU."""
    logits = torch.zeros(4, 2, 3, device="meta", requires_grad=True)
    labels = torch.zeros(4, 2, dtype=torch.int64, device="meta")
    loss = cross_entropy_loss(torch.ones(3), 0.1)(Outputs(logits), labels, 8)
    assert loss.device.type == "meta"
    loss.backward()
