"""Averages of weights: recomputed from the weights of each step, and the same after a kill."""

import os
from types import SimpleNamespace

import pytest
import torch
from tests.training.conftest import assert_same_bytes
from torch import nn

from scratchformer.base.errors import Interrupted
from scratchformer.training.averaging import make_averaging

EXPONENTIAL = {"kind": "exponential", "decay": 0.7}
LAST = {"kind": "last", "validations": 2}


def watched(training, averaging, **changes):
    """The weights after each update, and those that each validation saw."""
    one = training(averaging=averaging, folder=averaging["kind"], **changes)
    updated, validated = [], []
    update, validate = one.update, one.objective.validate

    def take():
        return {name: parameter.detach().clone() for name, parameter in one.parameters.items()}

    def watched_update():
        update()
        updated.append(take())

    def watched_validate():
        validated.append(take())
        return validate()

    one.update, one.objective.validate = watched_update, watched_validate
    one.run()
    return one, updated, validated


def test_the_exponential_average_is_its_formula(training):
    one, updated, validated = watched(training, EXPONENTIAL)
    for name in one.parameters:
        average = updated[0][name].double()
        for step, weights in enumerate(updated[1:], 2):
            keep = min(0.7, (1 + step) / (10 + step))
            average = keep * average + (1 - keep) * weights[name].double()
            if step % 4 == 0:
                seen = validated[step // 4 - 1][name]
                torch.testing.assert_close(seen.double(), average, rtol=1e-5, atol=1e-6)


def test_the_mean_of_the_last_validations_is_what_is_validated(training):
    one, updated, validated = watched(training, LAST)
    at = [updated[step - 1] for step in (4, 8, 12)]
    for name in one.parameters:
        means = [at[0][name], (at[0][name] + at[1][name]) / 2, (at[1][name] + at[2][name]) / 2]
        for seen, mean in zip(validated, means, strict=True):
            torch.testing.assert_close(seen[name], mean)


@pytest.mark.parametrize("averaging", [EXPONENTIAL, LAST], ids=["exponential", "last"])
def test_the_training_does_not_notice_and_the_best_is_an_average(training, averaging):
    one, updated, validated = watched(training, averaging)
    _, alone, _ = watched(training, {"kind": "none"})
    for with_average, without in zip(updated, alone, strict=True):
        for name, weights in without.items():
            assert torch.equal(with_average[name], weights)
    best = validated[one.state.best_step // 4 - 1]
    for name, parameter in one.parameters.items():
        assert torch.equal(parameter, best[name])


@pytest.mark.parametrize("averaging", [EXPONENTIAL, LAST], ids=["exponential", "last"])
def test_a_training_resumes_to_the_same_bytes(training, averaging):
    alone = training(folder="alone", averaging=averaging)
    expected = alone.run()
    stop = {"on_samples": lambda step, _: step == 8 and os.kill(os.getpid(), 15)}
    with pytest.raises(Interrupted):
        training(stop, averaging=averaging).run()
    resumed = training(averaging=averaging)
    assert resumed.run() == expected
    assert_same_bytes(resumed, alone)


def test_a_rollback_forgets_all_weights_but_those_it_went_back_to():
    average = make_averaging(SimpleNamespace(kind="last", validations=3))
    weights = {"w": nn.Parameter(torch.zeros(2))}

    def validated(value: float) -> float:
        weights["w"].data.fill_(value)
        return float(average.at_validation(weights)["w"][0])

    assert [validated(1.0), validated(3.0)] == [1.0, 2.0]
    weights["w"].data.fill_(5.0)
    average.restart(weights)
    assert validated(7.0) == 6.0  # of 5 and 7: 1 and 3 are gone
