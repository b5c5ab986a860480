"""speed.csv: operations counted to the last one, padding, and a rate that can be reached."""

import pandas as pd
import pytest
import torch
from tests.training.conftest import make_copy_table

from scratchformer.data.tokenized.batches import TokenBatches
from scratchformer.monitoring import matrix_products
from scratchformer.monitoring.matrix_products import MatrixProducts, Shape, machine_rate
from scratchformer.monitoring.throughput import COLUMNS, Throughput
from scratchformer.training.flops import products_of, shape_of


def by_hand(d: int, d_ff: int, vocabulary: int, shape: Shape) -> int:
    """One encoder and one decoder layer; a product of [n, a] and [a, b] is 2nab operations."""
    source, target = shape.rows * shape.source, shape.rows * shape.target
    encoder = source * (4 * d * d + 2 * d * d_ff) + 2 * source * shape.source * d
    decoder = target * (4 * d * d + 2 * d * d_ff) + 2 * target * shape.target * d
    cross = target * 2 * d * d + source * 2 * d * d + 2 * target * shape.source * d
    return 3 * 2 * (encoder + decoder + cross + shape.target_tokens * d * vocabulary)


@pytest.mark.parametrize("attention", ["fused", "explicit"])
def test_operations_of_unseen_batches_are_those_of_the_equations(training, attention):
    one = training(model__attention=attention)
    products = products_of(one.objective, one.batches)
    uneven = TokenBatches(make_copy_table(40, seed=3, longest=10), 48, 0)
    shapes = [shape_of(uneven.batch(index)) for index in range(len(uneven))]
    shapes.append(shape_of(uneven.collate(uneven.batch(0).records[:0:-1])))
    shapes.append(Shape(rows=7, source=11, target=3, source_tokens=60, target_tokens=15))
    for shape in shapes:
        assert products.operations(shape) == pytest.approx(by_hand(16, 32, 12, shape), rel=1e-6)


def test_the_rows_of_speed(training):
    one = training(max_steps=6, log_every=2, accumulate=2)
    one.run()
    table = pd.read_csv(one.history.path("speed"))
    assert tuple(table.columns) == ("step", *COLUMNS) and list(table["step"]) == [2, 4, 6]
    for row, first in zip(table.itertuples(), (0, 4, 8), strict=True):
        batches = [one.batches.batch(first + place) for place in range(4)]
        holes = sum(int((side == 0).sum()) for b in batches for side in (b.source, b.target))
        places = sum(b.source.size + b.target.size for b in batches)
        assert row.padding == pytest.approx(holes / places)
        operations = sum(by_hand(16, 32, 12, shape_of(batch)) for batch in batches)
        share = operations / row.seconds / one.products.rate
        assert row.matrix_product_share == pytest.approx(share, rel=1e-5)
        assert 0 < row.matrix_product_share < 1


def test_validation_is_no_training_time(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    throughput, shape = Throughput(), Shape(2, 3, 4, 6, 7)
    throughput.add(shape, 7)
    now[0] += 5
    throughput.leave_out(3)

    class Products(MatrixProducts):
        def __init__(self) -> None:
            self.rate = 100.0

        def operations(self, shape: Shape) -> float:
            return 50.0

    assert throughput.take(Products()) == {
        "seconds": 2.0, "tokens_per_second": 3.5, "padding": 1 / 14, "matrix_product_share": 0.25,
    }  # fmt: skip


def test_the_rate_is_that_of_the_fastest_of_each_product(monkeypatch):
    """Outputs 5, inputs 3, positions 7: each of the three products is 2 * 105 operations."""
    sizes = []

    def seconds(left, right):
        sizes.append((*left.shape, right.shape[1]))
        return 1.0 if len(sizes) % matrix_products.REPETITIONS else 0.5

    monkeypatch.setattr(matrix_products, "_seconds", seconds)
    assert machine_rate((5, 3), 7, torch.ones(())) == 3 * 2 * 105 / 1.5
    assert set(sizes) == {(7, 3, 5), (7, 5, 3), (5, 7, 3)}
