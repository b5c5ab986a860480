"""Operations of a fine-tuning: counted exactly, with what is frozen, and without a trace."""

import pyarrow as pa
import pytest
import torch
from tests.pretrained.test_seq2seq import build

from scratchformer.monitoring.matrix_products import _count
from scratchformer.params import Pretrained
from scratchformer.pretrained.finetuning.flops import products_of, shape_of
from scratchformer.pretrained.finetuning.freezing import freeze
from scratchformer.pretrained.finetuning.tasks.classification import Classification
from scratchformer.pretrained.finetuning.tasks.seq2seq import Sequences
from scratchformer.pretrained.hub.loading import load_classifier


def test_a_frozen_layer_costs_less_and_nothing_is_changed(tiny_bert, rows):
    model = load_classifier(Pretrained(kind="folder", name=str(tiny_bert)), ["a", "b", "c"], 1)
    task = Classification(model, rows, rows)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    draws, costs = torch.get_rng_state(), []
    for layers in (0, 1):
        freeze(model, "embeddings", layers)
        products = products_of(task, 16, "float32")
        assert all(parameter.grad is None for parameter in model.parameters())
        inputs = task.collate([3, 40, 77, 2])
        labels = inputs.pop("labels")
        costs.append(_count(lambda inputs=inputs: model(**inputs).logits.sum().backward()))
        shape = shape_of({**inputs, "labels": labels})
        assert products.operations(shape) == pytest.approx(costs[-1], rel=1e-6)
        model.zero_grad()
    assert costs[1] < 0.8 * costs[0]  # nothing flows back through it
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), draws)


def test_answers_of_several_tokens():
    model = build("t5")
    random = torch.Generator().manual_seed(0)

    def ids(longest: int) -> list[int]:
        length = int(torch.randint(1, longest, (), generator=random))
        return torch.randint(3, 20, (length,), generator=random).tolist()

    kind = pa.list_(pa.int32())
    table = pa.table({
        "source": pa.array([ids(12) for _ in range(40)], kind),
        "target": pa.array([ids(9) for _ in range(40)], kind),
    })  # fmt: skip
    task = Sequences(model, table, table)
    products = products_of(task, 16, "float32")
    for records in ([0, 1, 2], [5, 30], list(range(7, 20))):
        inputs = task.collate(records)
        shape = shape_of(inputs)
        assert shape.padding == int((inputs["input_ids"] == 0).sum() + (inputs["labels"] < 0).sum())
        del inputs["labels"]
        counted = _count(lambda inputs=inputs: model(**inputs).logits.sum().backward())
        assert products.operations(shape) == pytest.approx(counted, rel=1e-6)
