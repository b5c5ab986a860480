"""What the batches of the from-scratch model cost in matrix products."""

import numpy as np

from scratchformer.data.tokenized.batches import Batch, TokenBatches
from scratchformer.monitoring.matrix_products import MatrixProducts, Pass, Shape, probes
from scratchformer.training.objectives.objective import Objective


def shape_of(batch: Batch) -> Shape:
    rows, source = batch.source.shape
    source_tokens = int(np.count_nonzero(batch.source))  # padding is id 0
    if batch.target is None:
        return Shape(rows, source, 0, source_tokens, 0)
    return Shape(rows, source, batch.target.shape[1], source_tokens, batch.tokens)


def products_of(objective: Objective, data: TokenBatches) -> MatrixProducts:
    """Counted on a copy of the model, which draws no random number."""
    trial = objective.for_trial()

    def counted(records: list[int]) -> Pass:
        batch = data.collate(np.array(records))
        return shape_of(batch), lambda: trial.backward(batch, batch.tokens)

    usual = data.batch(0).source.size
    return MatrixProducts(trial.model, map(counted, probes(*data.lengths)), usual)
