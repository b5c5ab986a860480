"""speed.csv: seconds, tokens, padding, and the share of the machine."""

import pandas as pd
import pytest

from scratchformer.monitoring.flops import Flops, Shape, Utilisation
from scratchformer.monitoring.throughput import COLUMNS, Throughput
from scratchformer.training.flops import flops_of, shape_of


def test_the_rows_of_speed(training):
    one = training(max_steps=6, log_every=2, accumulate=2)
    one.run()
    table = pd.read_csv(one.recorder.history.path("speed"))
    assert tuple(table.columns) == ("step", *COLUMNS) and list(table["step"]) == [2, 4, 6]
    for row, first in zip(table.itertuples(), (0, 4, 8), strict=True):
        batches = [one.batches.batch(first + place) for place in range(4)]
        holes = sum(int((side == 0).sum()) for b in batches for side in (b.source, b.target))
        places = sum(b.source.size + b.target.size for b in batches)
        assert row.padding == pytest.approx(holes / places)
        operations = sum(flops_of(one.model).of(shape_of(batch)) for batch in batches)
        share = operations / row.seconds / one.recorder.utilisation.rate
        assert row.matrix_product_share == pytest.approx(share, rel=1e-5)
        assert 0 < row.matrix_product_share < 1


def test_validation_is_no_training_time(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    throughput, shape = Throughput(), Shape(2, 3, 4, 6, 7)
    throughput.add(shape, 7)
    now[0] += 5
    throughput.leave_out(3)

    utilisation = Utilisation(Flops(source=25.0 / 3), rate=100.0)  # 50 operations a batch
    assert throughput.take(utilisation) == {
        "seconds": 2.0, "tokens_per_second": 3.5, "padding": 1 / 14, "matrix_product_share": 0.25,
    }  # fmt: skip
