"""Diagnostics: right numbers, the same weights with and without them, exact after a kill."""

import math
import os

import pandas as pd
import pytest
import torch
from tests.training.conftest import curve_bytes

from scratchformer.base.errors import Interrupted
from scratchformer.training.diagnostics import layer_of


def read(one) -> pd.DataFrame:
    return pd.read_csv(one.recorder.history.path("diagnostics"))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_weights_and_curves_are_bit_identical_with_and_without(training, accumulate):
    made = []
    for every in (0, 2):
        one = training(folder=str(every), diagnose_every=every, accumulate=accumulate)
        one.run()
        made.append(one)
    without, with_ = made
    for name, parameter in with_.parameters.items():
        assert torch.equal(parameter, without.parameters[name])
    for curve in ("train", "valid"):
        assert curve_bytes(with_, curve) == curve_bytes(without, curve)
    assert list(read(with_)["step"]) == [2, 4, 6, 8, 10, 12] and read(without).empty


def test_the_numbers_are_those_of_the_update(training):
    one = training(diagnose_every=3, clip_norm=1e9, model__num_encoder_layers=2)
    one._start()
    for _ in range(2):
        one.update()
    before = {name: p.detach().clone() for name, p in one.parameters.items()}
    norm = one.state.window_norm
    one.update()
    row = read(one).iloc[0]
    norms = row.filter(like="gradient_norm")
    assert math.sqrt((norms**2).sum()) == pytest.approx(one.state.window_norm - norm, rel=1e-4)
    own = [name for name in before if layer_of(name) == "encoder.1"]
    assert len(own) > 5
    change = torch.cat([(one.parameters[name] - before[name]).flatten() for name in own]).norm()
    weights = torch.cat([one.parameters[name].flatten() for name in own]).norm()
    assert row["encoder.1.weight_norm"] == pytest.approx(weights.item(), rel=1e-5)
    expected = math.log10(change.item() / weights.item())
    assert row["encoder.1.update_ratio"] == pytest.approx(expected, rel=1e-4)
    assert not row.isna().any()


def test_dead_units_and_entropies_are_seen(training):
    one = training(diagnose_every=1)
    one._start()
    layer = one.model.encoder.layers[0]
    with torch.no_grad():
        layer.feed_forward.inner.bias[:8] = -1e4  # 8 of 32 units can never be above 0
        layer.self_attention.query_key_value.weight.zero_()  # looks everywhere evenly
    one.update()
    row = read(one).iloc[0]
    assert row["encoder.0.dead_units"] == pytest.approx(0.25, abs=0.1)
    batch = one.batches.batch(0)
    lengths = torch.from_numpy((batch.source[:16] != 0).sum(axis=1)).double()
    assert row["encoder.0.self_entropy.0"] == pytest.approx(lengths.log().mean().item(), rel=1e-3)
    assert row["decoder.0.cross_entropy.1"] > 0


def test_noise_and_signal_add_up_to_the_gradient_that_was_seen(training):
    """E|G_B|² = |G|² + S / B (McCandlish et al. 2018, equation A.1)."""
    one = training(diagnose_every=1, max_steps=1, model__dropout=0.0)
    one._start()
    one.update()
    row = read(one).iloc[0]
    assert row["signal"] + row["noise"] / one.state.tokens == pytest.approx(
        (row.filter(like="gradient_norm") ** 2).sum(), rel=1e-4
    )


def test_diagnostics_are_cut_back_and_written_again_after_a_kill(training):
    def stop(values, step):
        if step == 7 and "diagnostics/noise" in values:
            os.kill(os.getpid(), 15)

    left_alone = training(folder="alone", diagnose_every=1)
    left_alone.run()
    with pytest.raises(Interrupted):
        training({"on_log": stop}, diagnose_every=1).run()
    resumed = training(diagnose_every=1)
    resumed.run()
    path = left_alone.recorder.history.path("diagnostics")
    assert resumed.recorder.history.path("diagnostics").read_bytes() == path.read_bytes()
