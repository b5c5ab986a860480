"""Running a model over many rows: class probabilities, one vector per text, losses on answers.

Rows are sorted by length so that a batch holds little padding, and the results are put back in
the order of the rows. Memory grows with the batch and with the result, not with the data.

Several processes of one stage share the batches out, see runtime/sharing.py: all of them have to
call these functions, and all get the whole.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from scratchformer.data.tokenized.columns import InputColumns, TokenColumn, longest_first
from scratchformer.pretrained.models.loading import encoder_of, load_finetuned
from scratchformer.runtime.sharing import Result, Rows, shared_out

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

NO_LABEL = -100  # target positions that count for nothing, the value transformers uses

Advance = Callable[[int], None]  # called with the number of rows done


def classify_probabilities(
    folder: Path, table: pa.Table, batch_size: int, advance: Advance = lambda rows: None
) -> np.ndarray:
    """Class probabilities of a fine-tuned model.

    Args:
        folder: a model in the Hugging Face layout (models/finetuned).
        table: tokenized rows, see `data.tokenized.read.schema_of`.
        batch_size: rows in one forward pass.
        advance: called with the number of rows done.

    Returns:
        float32 [rows, labels], rows in the order of `table`, labels in the order of their ids.
    """
    return classify(load_finetuned(folder), table, batch_size, advance)


def classify(
    model: "PreTrainedModel",
    rows: pa.Table,
    batch_size: int,
    advance: Advance = lambda rows: None,
) -> np.ndarray:
    """The same for a model in memory."""
    from scipy.special import softmax

    return np.asarray(softmax(logits(model, rows, batch_size, advance), axis=1), dtype=np.float32)


def logits(
    model: "PreTrainedModel",
    rows: pa.Table,
    batch_size: int,
    advance: Advance = lambda rows: None,
) -> np.ndarray:
    """Unnormalised class scores: float64 [rows, labels], in the order of `rows`."""
    import torch

    columns = InputColumns.of(rows)

    def run(part: Rows) -> Result:
        inputs = model_inputs(model, columns, part)
        return (model(**inputs).logits.cpu().double().numpy(),)

    model.eval()
    scores = np.empty((len(rows), model.config.num_labels), dtype=np.float64)
    with torch.inference_mode():
        parts = longest_first(columns.lengths, batch_size)
        for part, (some,) in shared_out(parts, run, advance):
            scores[part] = some
    return scores


def embed(
    model: "PreTrainedModel",
    rows: pa.Table,
    batch_size: int,
    advance: Advance = lambda rows: None,
) -> np.ndarray:
    """One vector per text: the mean of the last hidden states of its tokens, scaled to length 1.

    This is how sentence encoders are trained to be read (Reimers and Gurevych 2019, section 3);
    padding does not enter the mean. Of an encoder-decoder only the encoder is run.

    Returns:
        float32 [rows, d_model], in the order of `rows`.
    """
    import torch

    encoder, columns = encoder_of(model), InputColumns.of(rows)

    def run(part: Rows) -> Result:
        inputs = model_inputs(model, columns, part)
        hidden = encoder(**inputs).last_hidden_state.float()  # [batch, length, d_model]
        weights = inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * weights).sum(dim=1) / weights.sum(dim=1)
        return (torch.nn.functional.normalize(mean, dim=-1).cpu().numpy(),)

    model.eval()
    vectors = np.empty((len(rows), model.config.hidden_size), dtype=np.float32)
    with torch.inference_mode():
        parts = longest_first(columns.lengths, batch_size)
        for part, (some,) in shared_out(parts, run, advance):
            vectors[part] = some
    return vectors


def answer_scores(
    model: "PreTrainedModel", columns: InputColumns, answers: TokenColumn, records: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What an encoder-decoder makes of the answers to these records, given token by token.

    Returns:
        float32 -log p of every token after the right ones before it, and whether it was the
        likeliest: both `[token]`, answer after answer.
    """
    import torch

    labels = torch.from_numpy(answers.padded(records, NO_LABEL)).to(model.device)
    before = model.prepare_decoder_input_ids_from_labels(labels)
    read = model_inputs(model, columns, records)
    scores = model(**read, decoder_input_ids=before).logits.float()
    real = labels != NO_LABEL
    log_probabilities = scores[real].log_softmax(dim=-1)
    nll = -log_probabilities.gather(1, labels[real][:, None]).squeeze(1)
    right = log_probabilities.argmax(dim=-1) == labels[real]
    return nll.cpu().numpy(), right.cpu().numpy()


def padded_inputs(
    model: "PreTrainedModel", columns: InputColumns, records: np.ndarray
) -> dict[str, "torch.Tensor"]:
    """`input_ids` and `attention_mask` of these records: int64 [batch, longest]; `token_type_ids`
    where the rows have segments.

    The mask comes from the lengths and not from the ids, so that an id which pads and is also a
    real token (models without a padding token) does no harm.
    """
    import torch

    ids = columns.source.padded(records, pad_id(model))
    mask = np.arange(ids.shape[1]) < columns.lengths[records][:, None]
    inputs = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
    if columns.segments is not None:
        inputs["token_type_ids"] = columns.segments.padded(records, 0)
    return {name: torch.from_numpy(array) for name, array in inputs.items()}


def model_inputs(
    model: "PreTrainedModel", columns: InputColumns, records: np.ndarray
) -> dict[str, "torch.Tensor"]:
    """The same beside the weights of the model: what it is called with."""
    made = padded_inputs(model, columns, records)
    return {name: tensor.to(model.device) for name, tensor in made.items()}


def pad_id(model: "PreTrainedModel") -> int:
    """The id that fills short rows. It is masked, so a model without one can take any."""
    pad = model.config.pad_token_id
    return 0 if pad is None else int(pad)
