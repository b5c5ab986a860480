"""Every loss is its paper's formula, gradient included, and a sum: parts add up to the whole."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
import torch
from tests.training.conftest import EOS, INFO, make_copy_table, make_settings
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, one_hot

from scratchformer.base.errors import ParamsError
from scratchformer.data.tokenized.batches import TokenBatches
from scratchformer.training.build import build_objective
from scratchformer.training.objectives.losses.cross_entropy import CrossEntropy
from scratchformer.training.objectives.losses.focal import Focal
from scratchformer.training.objectives.losses.make import LOSSES
from scratchformer.training.objectives.losses.r_drop import RDrop
from scratchformer.training.objectives.losses.token_loss import TokenLoss
from scratchformer.training.objectives.losses.unlikelihood import Unlikelihood, earlier_tokens
from scratchformer.training.objectives.objective import Objective

TOKENS, CLASSES = 11, 7
TARGET = torch.tensor([[4, 4, 5, 2, 0, 0], [6, 5, 4, 6, 3, 2], [2, 0, 0, 0, 0, 0]])
SMOOTHED = {"label_smoothing": 0.1, "reduction": "sum"}


def plain_focal(logits: list[Tensor], target: Tensor, gamma: float) -> Tensor:
    p = (logits[0].softmax(-1) * one_hot(target, CLASSES)).sum(-1)
    return -((1 - p) ** gamma * p.log()).sum()


def plain_r_drop(logits: list[Tensor], target: Tensor) -> Tensor:
    p, q = (each.log_softmax(-1) for each in logits)
    likely = sum(cross_entropy(each, target, **SMOOTHED) for each in logits)
    apart = sum(
        kl_div(one, other, reduction="sum", log_target=True) for one, other in ((p, q), (q, p))
    )
    return (likely + 3.0 * apart / 2) / 2


def plain_unlikelihood(logits: list[Tensor], target: Tensor) -> Tensor:
    """Welleck et al. 2020, equation 5, word by word."""
    loss, token = cross_entropy(logits[0], target, **SMOOTHED), 0
    for row in TARGET.tolist():
        for place, right in enumerate(row):
            if right:
                for candidate in set(row[:place]) - {right}:
                    unlikely = 1 - logits[0][token].softmax(-1)[candidate]
                    loss = loss - 0.7 * unlikely.log()
                token += 1
    return loss


CASES: list[tuple[TokenLoss, Callable[[list[Tensor], Tensor], Tensor]]] = [
    (CrossEntropy(0.1), lambda logits, target: cross_entropy(logits[0], target, **SMOOTHED)),
    (Focal(0.0), lambda logits, target: cross_entropy(logits[0], target, reduction="sum")),
    (Focal(0.5), lambda logits, target: plain_focal(logits, target, 0.5)),
    (Focal(2.0), lambda logits, target: plain_focal(logits, target, 2.0)),
    (RDrop(3.0, 0.1), plain_r_drop),
    (Unlikelihood(0.7, 0.1), plain_unlikelihood),
]


def drawn(loss: TokenLoss) -> list[Tensor]:
    torch.manual_seed(3)
    size = (loss.passes, TOKENS, CLASSES)
    return [each.requires_grad_() for each in 2 * torch.randn(size, dtype=torch.float64)]


@pytest.mark.parametrize(("loss", "plain"), CASES, ids=lambda case: str(case)[:18])
def test_value_and_gradient_are_those_of_the_plain_formula(loss, plain):
    target, earlier = TARGET[TARGET != 0], earlier_tokens(TARGET)
    ours, theirs = drawn(loss), drawn(loss)
    found, expected = loss(ours, target, earlier), plain(theirs, target)
    (found * 0.5).backward()
    (expected * 0.5).backward()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-11, atol=1e-12)
    # Any cut of the tokens gives the same sum and the same gradients.
    cut = drawn(loss)
    for part in (slice(0, 1), slice(1, 4), slice(4, TOKENS)):
        (loss([each[part] for each in cut], target[part], earlier[part]) * 0.5).backward()
    for one, other in zip(cut, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("loss", [case[0] for case in CASES], ids=lambda case: str(case)[:18])
def test_sure_logits_stay_finite_and_a_nan_shows(loss):
    """Right beyond doubt, wrong beyond doubt, and sure of a repetition."""
    target, earlier = torch.tensor([1, 2, 3]), torch.tensor([[0, 0], [1, 0], [1, 2]])
    logits = [
        torch.tensor([[0.0, 3e4, 0.0, 0.0], [0.0, 3e4, 0.0, 0.0], [0.0, 0.0, 3e4, 0.0]])
        for _ in range(loss.passes)
    ]
    leaves = [each.requires_grad_() for each in logits]
    value = loss(leaves, target, earlier)
    value.backward()
    assert value.isfinite() and all(each.grad.isfinite().all() for each in leaves)
    broken = [each.detach().clone() for each in logits]
    broken[-1][1, 0] = torch.nan
    assert loss(broken, target, earlier).isnan()


def objective_of(task: str, kind: str) -> tuple[Objective, TokenBatches]:
    """Over a model in float64."""
    smoothing = 0.0 if kind == "focal" else 0.1
    settings = make_settings(loss={"kind": kind}, label_smoothing=smoothing)
    table, info = make_copy_table(20), INFO
    if task == "classification":
        labels = pa.array([row % 3 for row in table["row"].to_pylist()], pa.int32())
        table = table.drop_columns("target").append_column("label", labels)
        info = {"task": task, "num_labels": 3, "source_vocab_size": 12, "max_source_length": 12}
    batches = TokenBatches(table, 64, 0)
    objective = build_objective(settings, info, batches, 0)
    objective.model.double().eval()  # every pass is the same; `divergence` has its own test
    return objective, batches


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("task", ["seq2seq", "classification"])
def test_batches_of_one_update_make_the_gradient_of_the_joint_batch(task, kind):
    if task == "classification" and kind == "unlikelihood":
        with pytest.raises(ParamsError, match=r"train_scratch.loss.kind: .*label has none"):
            objective_of(task, kind)
        return
    objective, batches = objective_of(task, kind)
    records = np.arange(12)
    tokens = batches.collate(records).tokens
    gradients, losses = [], []
    for parts in (1, 2, 3):
        batches_of_update = [batches.collate(part) for part in np.array_split(records, parts)]
        losses.append(sum(objective.backward(batch, tokens) for batch in batches_of_update))
        gradients.append([p.grad.clone() for p in objective.model.parameters()])
        objective.model.zero_grad()
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-12)
    for other in gradients[1:]:
        for one, two in zip(gradients[0], other, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-13)


def test_what_came_before_is_of_the_row_and_not_the_token_itself():
    assert earlier_tokens(TARGET)[:4].tolist() == [
        [0, 0, 0, 0, 0, 0], [4, 0, 0, 0, 0, 0], [4, 4, 0, 0, 0, 0], [4, 4, 5, 0, 0, 0],
    ]  # fmt: skip
    assert len(earlier_tokens(TARGET)) == int((TARGET != 0).sum()) == TOKENS
    assert (TARGET == EOS).sum() == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": {"kind": "focal"}, "label_smoothing": 0.1}, "set label_smoothing: 0.0"),
        ({"loss": {"kind": "r_drop"}, "model__dropout": 0.0}, "set model.dropout above 0"),
        ({"loss": {"kind": "cross_entropy", "gamma": 1.0}}, "gamma"),
    ],
)
def test_a_loss_that_cannot_do_its_work_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        make_settings(**changes)
