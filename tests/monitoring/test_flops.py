"""Model FLOPs utilisation: the formula against torch's counter, and a rate that can be reached."""

from itertools import product

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from scratchformer.monitoring import machine_rate as measured
from scratchformer.monitoring.flops import Flops, Shape, Utilisation
from scratchformer.monitoring.machine_rate import busiest_layer, machine_rate
from scratchformer.training.flops import flops_of, shape_of


def counted(run) -> int:
    """Operations by torch's counter. It does not know the CPU's fused attention: write it out."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@pytest.mark.parametrize(("activation", "kv_heads"), list(product(["relu", "swiglu"], [0, 1])))
def test_the_formula_gives_what_torch_counts(training, activation, kv_heads):
    one = training(
        model__attention="explicit", model__activation=activation, model__num_kv_heads=kv_heads,
        model__num_encoder_layers=2, model__num_decoder_layers=1, model__dropout=0.0,
    )  # fmt: skip
    flops = flops_of(one.model)
    for index in range(4):
        batch = one.batches.batch(index)
        found = counted(lambda batch=batch: one.objective.backward(batch, batch.tokens))
        assert flops.of(shape_of(batch)) == pytest.approx(found, rel=1e-6)


def test_a_classifier_costs_what_torch_counts_but_for_its_head(training):
    from scratchformer.transformer import EncoderClassifier, TransformerConfig

    model = EncoderClassifier(
        TransformerConfig(
            source_vocab_size=30, d_model=32, num_heads=2, d_ff=64, num_encoder_layers=2,
            num_labels=3, attention="explicit", dropout=0.0,
        )
    )  # fmt: skip
    ids = torch.randint(3, 30, (5, 11))
    found = counted(lambda: model(ids).sum().backward())
    assert flops_of(model).of(Shape(5, 11, 0, 55, 0)) == pytest.approx(found, rel=0.005)


def test_the_formula_is_that_of_the_paper():
    """PaLM, appendix B: 6N + 12·L·H·Q·T a token; a decoder of 2 layers, 4 heads of width 8."""
    weights, length = 50_000, 128
    flops = Flops(source=6 * weights, source_pair=12 * 2 * 4 * 8)
    per_token = 6 * weights + 12 * 2 * 4 * 8 * length
    assert flops.of(Shape(3, length, 0, 3 * length, 0)) == 3 * length * per_token


def test_the_share_is_operations_by_what_the_machine_could_have_done():
    half = Utilisation(Flops(source=10.0), rate=400.0)
    assert half.share([Shape(2, 5, 0, 10, 0), Shape(1, 10, 0, 10, 0)], seconds=1.0) == 0.5


def test_the_rate_is_that_of_the_fastest_of_each_product(monkeypatch):
    """Outputs 5, inputs 3, positions 7: each of the three products is 2 * 105 operations."""
    sizes = []

    def seconds(left, right):
        sizes.append((*left.shape, right.shape[1]))
        return 1.0 if len(sizes) % measured.REPETITIONS else 0.5

    monkeypatch.setattr(measured, "_seconds", seconds)
    assert machine_rate((5, 3), 7, torch.ones(())) == 3 * 2 * 105 / 1.5
    assert set(sizes) == {(7, 3, 5), (7, 5, 3), (5, 7, 3)}
    monkeypatch.setattr(measured, "MAX_POSITIONS", 4)
    sizes.clear()
    machine_rate((5, 3), 7, torch.ones(()))
    assert set(sizes) == {(4, 3, 5), (4, 5, 3), (5, 4, 3)}


def test_the_busiest_layer_is_no_embedding():
    model = torch.nn.Sequential(
        torch.nn.Embedding(100, 4), torch.nn.Linear(4, 7), torch.nn.Linear(7, 4),
        torch.nn.Linear(4, 7),
    )  # fmt: skip
    assert busiest_layer(model) == (7, 4)
