"""Running an encoder over many rows: class probabilities, and one vector per text.

Rows are sorted by length so that a batch holds little padding, and the results are put back in
the order of the rows. Memory grows with the batch and with the result, not with the data.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scratchformer.pretrained.loading import load_finetuned

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def classify_probabilities(folder: Path, table: pa.Table, batch_size: int) -> np.ndarray:
    """Class probabilities of a fine-tuned model.

    Args:
        folder: a model in the Hugging Face layout (models/finetuned).
        table: tokenized rows with a column `input_ids: list<int32>`, special tokens included.
        batch_size: rows in one forward pass.

    Returns:
        float32 [rows, labels], rows in the order of `table`, labels in the order of their ids.
    """
    return classify(load_finetuned(folder), table.column("input_ids"), batch_size)


def classify(model: "PreTrainedModel", rows: pa.ChunkedArray, batch_size: int) -> np.ndarray:
    """The same for a model in memory and one column of token ids."""
    import torch

    model.eval()
    probabilities = np.empty((len(rows), model.config.num_labels), dtype=np.float32)
    with torch.inference_mode():
        for indices, input_ids, mask in padded_batches(rows, batch_size, pad_id(model)):
            logits = model(input_ids=input_ids, attention_mask=mask).logits
            probabilities[indices] = logits.softmax(dim=-1).numpy()
    return probabilities


def embed(model: "PreTrainedModel", rows: pa.ChunkedArray, batch_size: int) -> np.ndarray:
    """One vector per text: the mean of the last hidden states of its tokens, scaled to length 1.

    This is how sentence encoders are trained to be read (Reimers and Gurevych 2019, section 3);
    padding does not enter the mean.

    Returns:
        float32 [rows, d_model], in the order of `rows`.
    """
    import torch

    model.eval()
    vectors = np.empty((len(rows), model.config.hidden_size), dtype=np.float32)
    with torch.inference_mode():
        for indices, input_ids, mask in padded_batches(rows, batch_size, pad_id(model)):
            hidden = model(input_ids=input_ids, attention_mask=mask).last_hidden_state
            weights = mask.unsqueeze(-1).to(hidden.dtype)  # [batch, length, 1]
            mean = (hidden * weights).sum(dim=1) / weights.sum(dim=1)
            vectors[indices] = torch.nn.functional.normalize(mean, dim=-1).numpy()
    return vectors


def padded_batches(
    rows: pa.ChunkedArray, batch_size: int, pad: int
) -> Iterator[tuple[np.ndarray, "torch.Tensor", "torch.Tensor"]]:
    """Yield (row numbers [batch], token ids [batch, length], mask [batch, length]), longest first,
    so that a batch too large for the memory fails at once and not after an hour."""
    import torch

    lengths = pc.list_value_length(rows).to_numpy()
    order = np.argsort(-lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        width = int(lengths[indices[0]])
        ids = np.full((len(indices), width), pad, dtype=np.int64)
        for line, row in enumerate(rows.take(pa.array(indices))):
            ids[line, : lengths[indices[line]]] = row.values.to_numpy()
        mask = np.arange(width)[None, :] < lengths[indices][:, None]
        yield indices, torch.from_numpy(ids), torch.from_numpy(mask.astype(np.int64))


def pad_id(model: "PreTrainedModel") -> int:
    """The id that fills short rows. It is masked, so a model without one can take any."""
    pad = model.config.pad_token_id
    return 0 if pad is None else int(pad)
