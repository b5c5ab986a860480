"""Every optimizer that params.yaml can choose, through the loop, its checkpoints and the gates."""

import os
from typing import Any, get_args

import pytest
import torch
from pydantic import TypeAdapter
from tests.committed import DEFAULT_PARAMS
from tests.training.conftest import assert_same_bytes
from torch import nn

from scratchformer.base.errors import Interrupted, ParamsError
from scratchformer.params import OptimizerSettings, read_yaml
from scratchformer.params.optimizers import AdamOptimizer
from scratchformer.params.reading import parse_params
from scratchformer.training.gates.rate import rate_bracket
from scratchformer.training.gates.subject import Subject
from scratchformer.training.optimizers.explicit import ExplicitOptimizer
from scratchformer.training.optimizers.optimizer import (
    OPTIMIZERS,
    make_optimizer,
    optimizer_tensors,
    set_learning_rate,
    state_bytes,
)

CHOICES: list[dict[str, Any]] = [
    {"kind": "adamw"},
    {"kind": "adamw", "implementation": "explicit"},
    {"kind": "adam"},
    {"kind": "adam", "implementation": "explicit"},
    {"kind": "sgd", "learning_rate": 0.1},
    {"kind": "sgd", "learning_rate": 0.1, "implementation": "explicit"},
    {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.9, "nesterov": True},
    {"kind": "sgd", "momentum": 0.9, "implementation": "explicit"},
    {"kind": "adafactor"},
    {"kind": "adafactor", "implementation": "explicit"},
    {"kind": "lion", "learning_rate": 0.001},
    {"kind": "muon", "learning_rate": 0.02},
]
IDS = [" ".join(str(value) for value in choice.values()) for choice in CHOICES]


def test_every_kind_is_here_and_in_the_schema() -> None:
    kinds = {
        kind
        for section in get_args(get_args(OptimizerSettings)[0])
        for kind in get_args(section.model_fields["kind"].annotation)
    }
    assert kinds == OPTIMIZERS.keys() == {choice["kind"] for choice in CHOICES}


@pytest.mark.parametrize("choice", CHOICES, ids=IDS)
def test_a_training_resumes_to_the_same_bytes(training, choice):
    """Stopped after the validation of step 4, and after the row of step 9."""

    def stop(values, step):
        if "train/loss" in values and step == 9:
            os.kill(os.getpid(), 15)

    alone = training(folder="alone", optimizer=choice)
    expected = alone.run()
    assert expected.best_step > 4  # it learns
    for hooks in ({"on_samples": lambda step, _: step == 4 and os.kill(os.getpid(), 15)},
                  {"on_log": stop}):  # fmt: skip
        with pytest.raises(Interrupted):
            training(hooks, optimizer=choice).run()
    resumed = training(optimizer=choice)
    assert resumed.run() == expected
    assert_same_bytes(resumed, alone)
    kept = optimizer_tensors(alone.model, alone.optimizer)
    size = sum(t.numel() * t.element_size() for name, t in kept.items() if name[:5] != "step.")
    assert size == state_bytes(alone.model, alone.settings.optimizer)


@pytest.mark.parametrize(
    "choice",
    [
        {"kind": "adamw", "betas": [0.7, 0.95], "epsilon": 0.001},
        {"kind": "adam", "betas": [0.7, 0.95], "epsilon": 0.001},
        {"kind": "sgd", "momentum": 0.8, "nesterov": True},
        {"kind": "adafactor"},
    ],
    ids=lambda choice: choice["kind"],
)
def test_torchs_kernel_and_our_lines_are_set_up_alike(choice: dict[str, Any]) -> None:
    """The constants reach both, and both pull matrices towards zero and nothing else."""
    values = {"learning_rate": 0.1, "weight_decay": 0.3, **choice}
    found = []
    for implementation in ("fused", "explicit"):
        section = {**values, "implementation": implementation}
        settings = TypeAdapter(OptimizerSettings).validate_python(section)
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2, bias=False))
        before = [parameter.detach().clone() for parameter in model.parameters()]
        optimizer = make_optimizer(model, settings)
        assert isinstance(optimizer, ExplicitOptimizer) == (implementation == "explicit")
        set_learning_rate(optimizer, 0.1)
        for _ in range(3):
            for place, parameter in enumerate(model.parameters()):
                moved = place < 2  # the first layer; the others feel decay alone
                parameter.grad = moved * torch.randn_like(parameter)
            optimizer.step()
        found.append(list(model.parameters()))
        matrix, bias, gain, shift, last = (
            torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)
        )
        assert (matrix, bias, gain, shift, last) == (False, False, True, True, False)
        assert model[2].weight.norm() < before[4].norm()
    for fused, explicit in zip(*found, strict=True):
        torch.testing.assert_close(fused, explicit, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("choice", [CHOICES[4], CHOICES[-1]], ids=["sgd", "muon"])
def test_the_gate_of_the_learning_rate_works_with_it(training, choice):
    one = training(optimizer=choice)
    low, high = rate_bracket(Subject(one.objective, one.batches, one.settings))
    assert 0 < low <= high < 1


def test_muon_turns_the_matrices_of_the_layers_and_nothing_else(training):
    one = training(optimizer={"kind": "muon", "adamw_share": 0.25})
    names = {id(parameter): name for name, parameter in one.parameters.items()}
    found = [
        (type(group["rule"]).__name__, group["share"], {names[id(p)] for p in group["params"]})
        for group in one.optimizer.param_groups
    ]
    layers = {
        name for name, p in one.parameters.items() if ".layers." in name and p.ndim == 2
    }
    assert [(rule, share) for rule, share, _ in found] == [
        ("Muon", 1.0), ("Adam", 0.25), ("Adam", 0.25),
    ]  # fmt: skip
    assert found[0][2] == layers
    assert "source_embedding.tokens.weight" in found[1][2]
    assert set().union(*(each for _, _, each in found)) == one.parameters.keys()
    one.run()
    assert one.optimizer.param_groups[1]["lr"] == 0.25 * one.optimizer.param_groups[0]["lr"]


def test_the_defaults_are_those_of_the_papers() -> None:
    """Vaswani et al. 2017, section 5.3; and params.yaml says the same."""
    adam = AdamOptimizer(kind="adamw", learning_rate=1.0)
    assert (adam.betas, adam.epsilon) == ([0.9, 0.98], 1e-9)
    default = parse_params(read_yaml(DEFAULT_PARAMS), DEFAULT_PARAMS).train_scratch.optimizer
    assert isinstance(default, AdamOptimizer)
    assert (default.betas, default.epsilon) == (adam.betas, adam.epsilon)


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ({"kind": "lion", "implementation": "fused"}, "implementation: input should be 'explicit'"),
        ({"kind": "sgd", "betas": [0.9, 0.98]}, "optimizer.betas: unknown key"),
        ({"kind": "sgd", "nesterov": True}, "nesterov: true needs a momentum above 0"),
        ({"kind": "adamw", "betas": [0.9]}, "betas: list should have at least 2 items"),
        ({"kind": "adamw", "betas": [0.9, 1.0]}, "betas.1: input should be less than 1"),
        ({"kind": "adagrad"}, "unknown kind 'adagrad'; valid: adamw"),
    ],
)
def test_a_combination_that_makes_no_sense_is_refused(choice: dict[str, Any], told: str) -> None:
    document = read_yaml(DEFAULT_PARAMS)
    document["train_scratch"]["optimizer"] = {"learning_rate": 0.1, **choice}
    with pytest.raises(ParamsError, match=told):
        parse_params(document, DEFAULT_PARAMS)


def test_a_key_of_an_earlier_version_says_where_it_stands_now() -> None:
    document = read_yaml(DEFAULT_PARAMS)
    document["train_scratch"]["learning_rate"] = 0.1
    with pytest.raises(ParamsError, match=r"moved; write it as train_scratch\.optimizer\.learning"):
        parse_params(document, DEFAULT_PARAMS)
