"""What the batches of a fine-tuning cost in matrix products."""

from typing import TYPE_CHECKING

from scratchformer.monitoring.matrix_products import MatrixProducts, Pass, Shape, probes
from scratchformer.pretrained.finetuning.tasks.task import NO_LABEL, FinetuneTask

if TYPE_CHECKING:
    from torch import Tensor


def shape_of(inputs: "dict[str, Tensor]") -> Shape:
    """Of what a task collates."""
    rows, source = inputs["input_ids"].shape
    source_tokens = int(inputs["attention_mask"].sum())
    labels = inputs["labels"]
    if labels.ndim == 1:  # one a row: a classification
        return Shape(rows, source, 0, source_tokens, 0)
    return Shape(rows, source, labels.shape[1], source_tokens, int((labels != NO_LABEL).sum()))


def products_of(task: FinetuneTask, batch_size: int, precision: str) -> MatrixProducts:
    """Counted on the model itself, which is left as it was: no dropout, no gradient kept.

    Args:
        precision: float32 | bfloat16, in which the training multiplies.
    """
    import torch

    model = task.model

    def counted(records: list[int]) -> Pass:
        inputs = task.collate(records)
        given = {k: v.to(model.device) for k, v in inputs.items() if k != "labels"}
        return shape_of(inputs), lambda: model(**given).logits.sum().backward()

    training = model.training
    model.eval()
    usual = int(task.sides[0].mean() * batch_size)
    products = MatrixProducts(
        model, map(counted, probes(*task.sides)), usual, getattr(torch, precision)
    )
    model.zero_grad(set_to_none=True)
    model.train(training)
    return products
