"""A pretrained encoder-decoder (T5, Marian, our own exported model) over a test split."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from scratchformer.data.tokenized.columns import InputColumns, TokenColumn, longest_first
from scratchformer.evaluation.systems.outputs import SequenceOutput, TokenLosses, summed_by_row
from scratchformer.pretrained.inference import answer_scores, model_inputs
from scratchformer.runtime.sharing import Result, Rows, shared_out

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def pretrained_output(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    table: pa.Table,
    rows: int,
    *,
    beam_size: int,
    max_length: int,
    batch_size: int,
    advance: Callable[[int], None] = lambda rows: None,
) -> SequenceOutput:
    """What the model predicts for each row, and its losses on the references.

    Args:
        table: tokenized split with `row, source, target`; a row with several references has
            several records, of which one is read.
        rows: of the prepared split.
        beam_size: 1 is greedy.
        max_length: new tokens at most.
    """
    import torch

    row_of_record = table.column("row").to_numpy()
    records = np.unique(row_of_record, return_index=True)[1]
    columns = InputColumns.of(table.take(pa.array(records)))
    texts = [""] * rows

    def generate(part: Rows) -> Result:
        batch = model_inputs(model, columns, part)
        generated = model.generate(
            **batch, num_beams=beam_size, do_sample=False, max_new_tokens=max_length
        )
        return (generated.cpu().numpy(),)

    model.eval()
    with torch.inference_mode():
        parts = longest_first(columns.lengths, batch_size)
        for part, (generated,) in shared_out(parts, generate, advance):
            predictions = tokenizer.batch_decode(generated, skip_special_tokens=True)
            for place, text in zip(row_of_record[records[part]], predictions, strict=True):
                texts[place] = text.strip()
    return SequenceOutput(texts, None, _token_losses(model, table, rows, batch_size))


def _token_losses(
    model: "PreTrainedModel", table: pa.Table, rows: int, batch_size: int
) -> TokenLosses:
    """Every reference under the model, with the right tokens before each token."""
    import torch

    columns, targets = InputColumns.of(table), TokenColumn(table.column("target"))

    def score(part: Rows) -> Result:
        return answer_scores(model, columns, targets, part)

    parts = longest_first(columns.lengths, batch_size)
    with torch.inference_mode():
        return summed_by_row(shared_out(parts, score), table, rows)
