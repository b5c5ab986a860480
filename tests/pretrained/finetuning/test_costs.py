"""Operations of a fine-tuning, with what is frozen, against torch's counter."""

import pyarrow as pa
import pytest
import torch
from tests.pretrained.finetuning.test_seq2seq import build
from torch.utils.flop_counter import FlopCounterMode

from scratchformer.monitoring.flops import Shape
from scratchformer.params import Pretrained
from scratchformer.pretrained.finetuning.flops import flops_of, shape_of
from scratchformer.pretrained.finetuning.freezing import freeze
from scratchformer.pretrained.finetuning.tasks.classification import Classification
from scratchformer.pretrained.finetuning.tasks.seq2seq import Sequences
from scratchformer.pretrained.models.loading import load_classifier


def counted(model, inputs) -> int:
    """Operations by torch's counter. It does not know the CPU's fused attention: write it out."""
    model.set_attn_implementation("eager")
    model.eval()
    with FlopCounterMode(display=False) as counter:
        model(**inputs).logits.sum().backward()
    model.zero_grad()
    return counter.get_total_flops()


def test_a_frozen_layer_costs_less(tiny_bert, rows):
    model = load_classifier(Pretrained(kind="folder", name=str(tiny_bert)), ["a", "b", "c"], 1)
    task, costs = Classification(model, rows, rows), []
    for layers in (0, 1):
        freeze(model, "embeddings", layers)
        inputs = task.collate([3, 40, 77, 2])
        shape = shape_of(inputs)
        inputs.pop("labels")
        costs.append(flops_of(model).of(shape))
        assert costs[-1] == pytest.approx(counted(model, inputs), rel=0.08)
    assert costs[1] < 0.8 * costs[0]  # nothing flows back through it


@pytest.mark.parametrize("family", ["albert", "gpt2", "distilbert"])
def test_other_families(family):
    import transformers

    config = transformers.AutoConfig.for_model(
        family, vocab_size=40, hidden_size=32, embedding_size=32, num_attention_heads=2, dim=32,
        num_hidden_layers=3, n_layers=3, n_heads=2, intermediate_size=64, hidden_dim=64, n_embd=32,
        n_head=2, n_layer=3, pad_token_id=0,
    )  # fmt: skip
    model = transformers.AutoModelForSequenceClassification.from_config(config)
    ids = torch.randint(3, 40, (6, 12))
    found = counted(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    assert flops_of(model).of(Shape(6, 12, 0, 72, 0)) == pytest.approx(found, rel=0.08)


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
    flops = flops_of(model)
    for records in ([0, 1, 2], [5, 30], list(range(7, 20))):
        inputs = task.collate(records)
        shape = shape_of(inputs)
        assert shape.padding == int((inputs["input_ids"] == 0).sum() + (inputs["labels"] < 0).sum())
        del inputs["labels"]
        assert flops.of(shape) == pytest.approx(counted(model, inputs), rel=0.08)
