"""The loss equals torch's, its gradient too, and sums over tokens make accumulation exact."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from scratchformer.training.loop import Training
from scratchformer.training.objectives import loss as loss_module
from scratchformer.training.objectives.loss import (
    backward_in_chunks,
    smoothed_cross_entropy,
    without_padding,
)
from scratchformer.training.objectives.losses.cross_entropy import CrossEntropy


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_value_and_gradient_equal_torch(smoothing):
    torch.manual_seed(0)
    ours = (3 * torch.randn(17, 9, dtype=torch.float64)).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    target = torch.randint(0, 9, (17,))
    loss = smoothed_cross_entropy(ours, target, smoothing)
    expected = F.cross_entropy(theirs, target, label_smoothing=smoothing, reduction="sum")
    (loss * 0.5).backward()
    (expected * 0.5).backward()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=1e-12)


def test_hopeless_logits_stay_finite():
    logits = torch.tensor([[3e4, 0.0, -3e4], [-3e4, -3e4, -3e4]], requires_grad=True)
    loss = smoothed_cross_entropy(logits, torch.tensor([2, 0]), 0.1)
    loss.backward()
    expected = F.cross_entropy(
        logits.detach(), torch.tensor([2, 0]), label_smoothing=0.1, reduction="sum"
    )
    torch.testing.assert_close(loss, expected)
    assert torch.isfinite(logits.grad).all()


def test_a_nan_logit_is_not_hidden():
    logits = torch.zeros(2, 3)
    logits[1, 1] = torch.nan
    assert smoothed_cross_entropy(logits, torch.tensor([0, 0])).isnan()


@pytest.mark.parametrize("logits_at_once", [7, 28, 10**6])
def test_chunks_give_the_gradients_of_the_whole(monkeypatch, logits_at_once):
    monkeypatch.setattr(loss_module, "LOGITS_AT_ONCE", logits_at_once)
    torch.manual_seed(0)
    project = torch.nn.Linear(5, 7).double()
    source = torch.randn(11, 5, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 7, (11,))
    loss = CrossEntropy(0.1)
    total = backward_in_chunks([source * 2], target, None, project, 7, loss, tokens_of_update=30)
    got = [source.grad, project.weight.grad, project.bias.grad]
    source.grad = None
    project.zero_grad()
    whole = F.cross_entropy(project(source * 2), target, label_smoothing=0.1, reduction="sum")
    (whole / 30).backward()
    assert total == pytest.approx(whole.item(), rel=1e-12)
    for ours, theirs in zip(
        got, [source.grad, project.weight.grad, project.bias.grad], strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


def test_padding_is_left_out_and_nothing_else():
    hidden = torch.arange(12.0).view(2, 3, 2)
    target = torch.tensor([[5, 6, 0], [7, 0, 0]])
    kept, ids = without_padding(hidden, target, pad_id=0)
    assert ids.tolist() == [5, 6, 7]
    assert kept.tolist() == [[0.0, 1.0], [2.0, 3.0], [6.0, 7.0]]


def test_training_is_in_its_precision_and_a_trial_is_exact(
    training: Callable[..., Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = training()
    objective, batch = made.objective, made.batches.batch(0)
    objective.model.eval()
    exact, _ = objective.predict(batch)
    half = SimpleNamespace(autocast=lambda: torch.autocast("cpu", torch.bfloat16))
    monkeypatch.setattr("scratchformer.training.objectives.objective.machine", lambda: half)
    rounded, _ = objective.predict(batch)
    on_trial, _ = objective.for_trial().predict(batch)
    assert torch.equal(on_trial, exact)
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, atol=0.05, rtol=0.05)
