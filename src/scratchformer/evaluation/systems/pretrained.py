"""A pretrained encoder-decoder (T5, Marian, our own exported model) over a test split."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from scratchformer.data.tokenized.columns import TokenColumn
from scratchformer.evaluation.systems.outputs import SequenceOutput, TokenLosses
from scratchformer.pretrained.inference import padded_batches

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_NO_LABEL = -100  # what transformers takes for padding in labels


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
    inputs = table.take(pa.array(records))
    texts = [""] * rows
    model.eval()
    with torch.inference_mode():
        for part, batch in padded_batches(model, inputs, batch_size):
            generated = model.generate(
                **batch, num_beams=beam_size, do_sample=False, max_new_tokens=max_length
            )
            predictions = tokenizer.batch_decode(generated, skip_special_tokens=True)
            for place, text in zip(row_of_record[records[part]], predictions, strict=True):
                texts[place] = text.strip()
            advance(len(part))
    return SequenceOutput(texts, None, _token_losses(model, table, rows, batch_size))


def _token_losses(
    model: "PreTrainedModel", table: pa.Table, rows: int, batch_size: int
) -> TokenLosses:
    """Every reference under the model, with the right tokens before each token."""
    import torch

    row_of_record = table.column("row").to_numpy()
    targets = TokenColumn(table.column("target"))
    result = TokenLosses(np.zeros(rows), np.zeros(rows), np.zeros(rows))
    with torch.inference_mode():
        for part, batch in padded_batches(model, table, batch_size):
            labels = torch.from_numpy(targets.padded(part, _NO_LABEL)).to(model.device)
            decoder_input = model.prepare_decoder_input_ids_from_labels(labels)
            logits = model(**batch, decoder_input_ids=decoder_input).logits.float()
            real = labels != _NO_LABEL
            target = labels[real]
            log_probabilities = logits[real].log_softmax(dim=-1)
            nll = -log_probabilities.gather(1, target[:, None]).squeeze(1)
            # np.add.at and not +=: references of one row may be in one batch.
            record = row_of_record[part].repeat(targets.lengths[part])
            np.add.at(result.nll, record, nll.cpu().double().numpy())
            right = log_probabilities.argmax(dim=-1) == target
            np.add.at(result.right, record, right.cpu().double().numpy())
            np.add.at(result.tokens, record, 1)
    return result
