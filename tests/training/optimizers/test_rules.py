"""Our optimizers against those of torch, in float64, over a hundred updates.

The gradients are those of a small network on fresh data, so that weights, moments and step lengths
all depend on what the updates before have done.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from scratchformer.training.optimizers.adafactor import Adafactor
from scratchformer.training.optimizers.adam import Adam
from scratchformer.training.optimizers.explicit import ExplicitOptimizer
from scratchformer.training.optimizers.lion import Lion
from scratchformer.training.optimizers.muon import Muon, orthogonalized
from scratchformer.training.optimizers.rule import Rule
from scratchformer.training.optimizers.sgd import SGD

UPDATES = 100
BOUND = 1e-12  # relative, float64
Make = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


def network(seed: int = 0) -> nn.Sequential:
    """Matrices that are wide and tall, and vectors."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()


def train(model: nn.Module, optimizer: torch.optim.Optimizer, updates: int = UPDATES) -> None:
    """Updates with a learning rate that changes, as under a schedule."""
    random = torch.Generator().manual_seed(1)
    for step in range(1, updates + 1):
        for group in optimizer.param_groups:
            group["lr"] = 0.02 / step**0.5
        x = torch.randn(8, 5, dtype=torch.float64, generator=random)
        optimizer.zero_grad()
        (model(x) - x[:, :3].sin()).square().mean().backward()
        optimizer.step()


def relative_difference(ours: nn.Module, theirs: nn.Module) -> float:
    return max(
        float((a - b).detach().norm() / b.detach().norm())
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True)
    )


def with_torch(make: Callable[..., torch.optim.Optimizer], **options: object) -> Make:
    return lambda parameters: make(parameters, lr=1.0, **options)


betas = {"betas": (0.9, 0.98)}
PAIRS: dict[str, tuple[Rule, Make]] = {
    "sgd": (SGD(), with_torch(torch.optim.SGD)),
    "sgd, decay": (SGD(weight_decay=0.1), with_torch(torch.optim.SGD, weight_decay=0.1)),
    "momentum": (SGD(0.9), with_torch(torch.optim.SGD, momentum=0.9)),
    "nesterov": (
        SGD(0.9, nesterov=True, weight_decay=0.1),
        with_torch(torch.optim.SGD, momentum=0.9, nesterov=True, weight_decay=0.1),
    ),
    "adam": (
        Adam(weight_decay=0.1, decoupled=False),
        with_torch(torch.optim.Adam, **betas, eps=1e-9, weight_decay=0.1),
    ),
    "adam, other constants": (
        Adam((0.8, 0.999), 1e-3, decoupled=False),
        with_torch(torch.optim.Adam, betas=(0.8, 0.999), eps=1e-3),
    ),
    "adamw": (
        Adam(weight_decay=0.1),
        with_torch(torch.optim.AdamW, **betas, eps=1e-9, weight_decay=0.1),
    ),
    "adamw, fused": (
        Adam(weight_decay=0.1),
        with_torch(torch.optim.AdamW, **betas, eps=1e-9, weight_decay=0.1, fused=True),
    ),
    "adafactor": (
        Adafactor(weight_decay=0.1),
        with_torch(torch.optim.Adafactor, weight_decay=0.1),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_hundred_updates_are_those_of_torch(name: str) -> None:
    rule, make = PAIRS[name]
    ours, theirs = network(), network()
    before = [p.detach().clone() for p in ours.parameters()]
    train(ours, ExplicitOptimizer([(rule, ours.parameters(), 1.0)]))
    train(theirs, make(list(theirs.parameters())))
    assert relative_difference(ours, theirs) <= BOUND
    assert all((a != b).all() for a, b in zip(before, ours.parameters(), strict=True))


def matrices(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.ndim == 2]


def test_muon_is_that_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch iterates in bfloat16; here it is made to keep float64."""
    monkeypatch.setattr(Tensor, "bfloat16", Tensor.double)
    ours, theirs = network(), network()
    rule = Muon(momentum=0.9, weight_decay=0.1)
    train(ours, ExplicitOptimizer([(rule, matrices(ours), 1.0)]))
    reference = torch.optim.Muon(matrices(theirs), lr=1.0, weight_decay=0.1, momentum=0.9)
    train(theirs, reference)
    print(relative_difference(ours, theirs))
    assert relative_difference(ours, theirs) <= BOUND


def test_orthogonalized_keeps_the_directions_and_evens_the_sizes() -> None:
    torch.manual_seed(0)
    for rows, columns in ((6, 4), (4, 6), (5, 5)):
        matrix = torch.randn(rows, columns, dtype=torch.float64)
        u, _, v = torch.linalg.svd(matrix, full_matrices=False)
        turned = orthogonalized(matrix)
        sizes = torch.linalg.svdvals(turned)
        assert float(sizes.min()) > 0.6 and float(sizes.max()) < 1.3
        inside = u.T @ turned @ v.T  # diagonal if U and V are kept
        assert float((inside - inside.diagonal().diag()).abs().max()) < 1e-9


def test_lion_moves_every_weight_by_the_learning_rate() -> None:
    """By hand, two updates of three weights; Chen et al. 2023, algorithm 2."""
    rule = Lion((0.9, 0.99), weight_decay=0.5)
    weight = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    state = rule.initial_state(weight)
    first, state = rule.update(weight, torch.tensor([0.3, -4.0, 1e-9]).double(), state, 1, 0.1)
    assert torch.allclose(first, torch.tensor([0.85, -1.8, 2.75]).double(), atol=1e-12)
    assert torch.allclose(state["mean"], torch.tensor([0.003, -0.04, 1e-11]).double())
    # The new gradient outweighs what is remembered: 0.9 · 0.003 < 0.1 · 1.
    second, _ = rule.update(first, torch.tensor([-1.0, -1.0, -1.0]).double(), state, 2, 0.1)
    moved = second - 0.95 * first
    assert torch.allclose(moved, torch.tensor([0.1, 0.1, 0.1]).double(), atol=1e-12)


@pytest.mark.parametrize("rule", [SGD(0.9), Adam(), Lion(), Adafactor(), Muon()], ids=repr)
def test_a_rule_changes_nothing_that_it_is_given(rule: Rule) -> None:
    torch.manual_seed(0)
    weight, gradient = torch.randn(4, 3).double(), torch.randn(4, 3).double()
    state = rule.initial_state(weight)
    given = [weight.clone(), gradient.clone(), *(t.clone() for t in state.values())]
    new, new_state = rule.update(weight, gradient, state, 1, 0.1)
    kept = [weight, gradient, *state.values()]
    assert all(map(torch.equal, given, kept))
    assert not torch.equal(new, weight) and new_state.keys() == state.keys()


@pytest.mark.parametrize("rule", [SGD(0.9), Adam(), Lion(), Adafactor(), Muon()], ids=repr)
def test_a_rule_reduces_a_loss(rule: Rule) -> None:
    model = network()
    optimizer = ExplicitOptimizer([(rule, matrices(model), 1.0)])
    x = torch.randn(64, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def loss() -> float:
        return float((model(x) - x[:, :3].sin()).detach().square().mean())

    before = loss()
    train(model, optimizer)
    assert loss() < 0.8 * before


def test_a_matrix_of_adafactor_remembers_its_rows_and_columns_only() -> None:
    state = Adafactor().initial_state(torch.zeros(40, 30))
    assert sum(tensor.numel() for tensor in state.values()) == 70


def test_muon_turns_in_the_number_format_it_is_told() -> None:
    torch.manual_seed(0)
    weight, gradient = torch.randn(6, 4), torch.randn(6, 4)
    rule = Muon(momentum=0.0, nesterov=False, dtype=torch.bfloat16)
    new, _ = rule.update(weight, gradient, rule.initial_state(weight), 1, 0.1)
    turned = orthogonalized(gradient.to(torch.bfloat16)).float()
    assert new.dtype == torch.float32
    assert torch.equal(new, weight - 0.1 * (6 / 4) ** 0.5 * turned)
    assert not torch.equal(turned, orthogonalized(gradient))
