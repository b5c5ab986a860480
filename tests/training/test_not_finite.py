"""Numbers that are not finite: found before the optimizer, named, and dealt with as chosen."""

import json
import os

import pytest
import torch
from tests.training.conftest import curve_bytes

from scratchformer.base.errors import Interrupted
from scratchformer.training.loop import NotFiniteError
from scratchformer.training.not_finite import MAX_LEFT_OUT

INNER = "decoder.layers.0.feed_forward.inner"


def poison(one, at: tuple[int, ...], value: float = torch.inf, name: str = f"{INNER}.weight"):
    """Put `value` into a weight before these updates (a fault of the memory, say)."""
    update = one.update

    def poisoned() -> None:
        step = one.state.step + 1
        weight = one.parameters[name]
        kept = weight.detach().clone()
        if step in at:
            with torch.no_grad():
                weight[0, 0] = value
        update()
        if step in at and one.settings.not_finite == "skip":
            with torch.no_grad():
                weight.copy_(kept)

    one.update = poisoned
    return one


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
@pytest.mark.parametrize("name", [INNER, "source_embedding.tokens", "encoder.layers.0"])
def test_the_first_module_is_named_with_the_step_and_the_batch(training, name, value):
    weight = "encoder.layers.0.self_attention.output" if name == "encoder.layers.0" else name
    one = poison(training(model__tie_embeddings="none"), (3,), value, f"{weight}.weight")
    with pytest.raises(NotFiniteError, match=r"step 3: loss (nan|inf)") as caught:
        one.run()
    assert f"first not finite: the output of {weight}." in str(caught.value)
    saved = json.loads((one.checkpoints.folder / "not-finite-step-3.json").read_text())
    assert saved["first"] == f"the output of {weight}"
    assert saved["rows"] == sorted(set(one.batches.batch(2).rows.tolist()))
    assert saved["records"] == [one.batches.batch(2).records.tolist()]
    assert not one.optimizer.state[one.parameters[f"{weight}.weight"]]["exp_avg"].isnan().any()


def test_a_gradient_that_breaks_on_its_way_is_named(training):
    one = training()

    def break_gradient(module, inputs, output):
        if output.requires_grad:
            output.register_hook(lambda gradient: gradient * torch.nan)

    one.model.decoder.layers[0].around_feed_forward.register_forward_hook(break_gradient)
    with pytest.raises(NotFiniteError) as caught:
        one.run()
    where = "first not finite: the gradient that arrives at decoder.layers.0.around_feed_forward."
    assert where in str(caught.value)
    assert not one.model.encoder._forward_hooks


def test_skip_leaves_the_update_out_and_counts_it(training, capsys):
    one = poison(training(not_finite="skip"), (3, 6))
    state = one.run()
    assert (state.step, state.left_out, state.rolled_back) == (12, 2, 0)
    assert curve_bytes(one, "not_finite").splitlines()[1:] == [b"3,1,0", b"6,2,0"]
    assert "step 3: loss" in capsys.readouterr().out
    left_alone = training(folder="alone").run()
    batches = [one.batches.batch(index).tokens for index in (2, 5)]
    assert state.tokens == left_alone.tokens - sum(batches)


def test_a_window_of_nothing_but_left_out_updates_has_no_row(training):
    one = poison(training(not_finite="skip"), (4, 5, 6))
    one.run()
    rows = one.recorder.history.path("train").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["3", "9", "12"]


def test_too_often_stops_all_the_same(training):
    one = poison(training(not_finite="skip", max_steps=40), tuple(range(2, 40)))
    with pytest.raises(NotFiniteError, match=f"after {MAX_LEFT_OUT['skip']} that were left out"):
        one.run()


def test_rollback_brings_the_best_weights_back_at_half_the_rate(training):
    one = poison(training(not_finite="rollback", schedule="constant", max_steps=8), (6,))
    update, seen = one.update, {}

    def watched():
        update()
        if one.state.step == 6:
            seen.update({name: p.detach().clone() for name, p in one.parameters.items()})
            seen["best"] = dict(one.best)

    one.update = watched
    state = one.run()
    assert (state.step, state.left_out, state.rolled_back) == (8, 1, 1)
    assert all(torch.equal(seen[name], weight) for name, weight in seen["best"].items())
    assert one.state.learning_rate == pytest.approx(one.settings.optimizer.learning_rate / 2)
    early = poison(training(not_finite="rollback", folder="early"), (2,))
    with pytest.raises(NotFiniteError):  # no validation yet: nothing to go back to
        early.run()


@pytest.mark.parametrize("policy", ["skip", "rollback"])
def test_a_bad_update_right_after_a_resumption_is_logged_as_without_it(training, policy):
    """The row of step 5 shows the learning rate of step 4, which another process made."""
    changes = {"not_finite": policy, "log_every": 5, "max_steps": 8}
    left_alone = poison(training(folder="alone", **changes), (5,))
    left_alone.run()
    stop = {"on_samples": lambda step, _: step == 4 and os.kill(os.getpid(), 15)}
    with pytest.raises(Interrupted, match="after step 4"):
        training(stop, **changes).run()
    resumed = poison(training(**changes), (5,))
    resumed.run()
    rows = curve_bytes(resumed, "train")
    assert rows == curve_bytes(left_alone, "train")
    rates = [line.split(",")[2] for line in rows.decode().splitlines()[1:]]
    assert rates[0] == "0.01"  # the peak, at the end of the warm-up


@pytest.mark.parametrize("policy", ["skip", "rollback"])
def test_a_policy_does_the_same_when_the_training_is_resumed(training, policy):
    def begin(folder, **hooks):
        return poison(training(hooks, folder=folder, not_finite=policy), (6, 10))

    left_alone = begin("alone")
    expected = left_alone.run()

    def stop(values, step):
        event = "not_finite/left_out" if step == 6 else "train/loss"
        if step in (6, 9) and event in values:
            os.kill(os.getpid(), 15)

    for _ in range(3):
        try:
            killed = begin("killed", on_log=stop)
            state = killed.run()
        except Interrupted:
            continue
        break
    else:
        state = (killed := begin("killed")).run()
    assert state == expected
    for name, parameter in killed.parameters.items():
        assert torch.equal(parameter, left_alone.parameters[name])
    for curve in ("train", "valid", "not_finite"):
        assert curve_bytes(killed, curve) == curve_bytes(left_alone, curve)
