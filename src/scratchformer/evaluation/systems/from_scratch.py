"""The from-scratch model over a split: what it decodes, and how well it expects the references.

Rows are sorted by length, so a batch holds little padding; results are put back in the order of
the split. Memory grows with a batch and with the results, not with the data.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scratchformer.data.tokenized.columns import TokenColumn
from scratchformer.evaluation.systems.outputs import TokenLosses
from scratchformer.runtime.device import to_device_of

if TYPE_CHECKING:
    import torch

    from scratchformer.transformer import EncoderClassifier, Transformer

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]
Advance = Callable[[int], None]  # called with the number of rows done

_LOGITS_AT_ONCE = 1 << 22  # numbers: 16 MB, so that a large vocabulary does not fill the memory


@dataclass(frozen=True)
class Decoded:
    """What a model predicts for each row: token ids without padding, and their summed log-prob."""

    ids: list[list[int]]
    scores: Floats


def decode(
    model: "Transformer",
    table: pa.Table,
    rows: int,
    *,
    beam_size: int,
    max_length: int,
    batch_size: int,
    advance: Advance = lambda rows: None,
) -> Decoded:
    """Let the model decode one prediction a row, greedily or by beam search.

    Args:
        table: tokenized split; a row with several references has several records, one is read.
        rows: of the prepared split.
        beam_size: 1 is greedy.
        max_length: tokens at most, EOS included.
    """
    from scratchformer.transformer import beam_search, greedy

    records = np.unique(table.column("row").to_numpy(), return_index=True)[1]
    sources = TokenColumn(table.column("source"))
    ids: list[list[int]] = [[] for _ in range(rows)]
    scores = np.zeros(rows)
    for part in _by_length(records, sources.lengths, batch_size):
        source = to_device_of(model, sources.padded(part, model.config.pad_id))
        if beam_size == 1:
            decoded = greedy(model, source, max_length)
        else:
            decoded = beam_search(model, source, beam_size, max_length)
        places = table.column("row").take(pa.array(part)).to_numpy()
        scores[places] = decoded.scores.cpu().numpy()
        lengths = decoded.lengths.tolist()
        for place, line, length in zip(places, decoded.ids.tolist(), lengths, strict=True):
            ids[place] = line[:length]
        advance(len(part))
    return Decoded(ids, scores)


def token_losses(
    model: "Transformer", table: pa.Table, rows: int, *, batch_size: int
) -> TokenLosses:
    """Score every reference of every row under the model, with the right tokens before each."""
    import torch

    config = model.config
    row_of_record = table.column("row").to_numpy()
    sources, targets = TokenColumn(table.column("source")), TokenColumn(table.column("target"))
    result = TokenLosses(np.zeros(rows), np.zeros(rows), np.zeros(rows))
    order = np.arange(table.num_rows)
    model.eval()
    with torch.inference_mode():
        for part in _by_length(order, targets.lengths, batch_size):
            source = to_device_of(model, sources.padded(part, config.pad_id))
            target = to_device_of(model, targets.padded(part, config.pad_id))
            begin = target.new_full((len(part), 1), config.bos_id)
            hidden = model.decode_hidden(
                torch.cat([begin, target[:, :-1]], dim=1), model.encode(source)
            )
            real = target != config.pad_id
            nll, right = _token_nll(model, hidden[real], target[real])
            # np.add.at and not +=: references of one row may be in one batch.
            record = row_of_record[part].repeat(targets.lengths[part])
            np.add.at(result.nll, record, nll)
            np.add.at(result.right, record, right)
            np.add.at(result.tokens, record, 1)
    return result


def class_probabilities(
    model: "EncoderClassifier", table: pa.Table, *, batch_size: int
) -> NDArray[np.float32]:
    """Probabilities of the labels, float32 `[rows, labels]`, in the order of the split."""
    import torch

    sources = TokenColumn(table.column("source"))
    probabilities = np.zeros((table.num_rows, model.config.num_labels), np.float32)
    model.eval()
    with torch.inference_mode():
        for part in _by_length(np.arange(table.num_rows), sources.lengths, batch_size):
            source = to_device_of(model, sources.padded(part, model.config.pad_id))
            probabilities[part] = model(source).float().softmax(dim=-1).cpu().numpy()
    return probabilities


def _by_length(records: Ids, lengths: Ids, batch_size: int) -> Iterator[Ids]:
    """Batches of records, the longest first: what does not fit into memory fails at once."""
    order = records[np.argsort(-lengths[records], kind="stable")]
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _token_nll(
    model: "Transformer", hidden: "torch.Tensor", target: "torch.Tensor"
) -> tuple[Floats, Floats]:
    """-log p of each token, and whether it was the likeliest; `hidden` is `[tokens, d_model]`."""
    import torch

    size = max(1, _LOGITS_AT_ONCE // model.config.target_vocab_size)
    nll, right = [], []
    for some, ids in zip(torch.split(hidden, size), torch.split(target, size), strict=True):
        log_probabilities = model.project(some).float().log_softmax(dim=-1)
        nll.append(-log_probabilities.gather(1, ids[:, None]).squeeze(1).cpu().double().numpy())
        right.append((log_probabilities.argmax(dim=-1) == ids).cpu().double().numpy())
    return np.concatenate(nll), np.concatenate(right)
