"""The from-scratch model over a split: what it decodes, and how well it expects the references.

Rows are sorted by length, so a batch holds little padding; results are put back in the order of
the split. Memory grows with a batch and with the results, not with the data. Several processes
share the batches out, see runtime/sharing.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scratchformer.data.tokenized.columns import TokenColumn, longest_first
from scratchformer.evaluation.systems.outputs import TokenLosses, summed_by_row
from scratchformer.runtime.device import to_device_of
from scratchformer.runtime.sharing import Result, Rows, shared_out

if TYPE_CHECKING:
    import torch

    from scratchformer.transformer import EncoderClassifier, Transformer

Floats = NDArray[np.float64]
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

    def run(part: Rows) -> Result:
        source = to_device_of(model, sources.padded(records[part], model.config.pad_id))
        if beam_size == 1:
            decoded = greedy(model, source, max_length)
        else:
            decoded = beam_search(model, source, beam_size, max_length)
        found = decoded.ids, decoded.lengths, decoded.scores
        return tuple(each.cpu().numpy() for each in found)

    parts = longest_first(sources.lengths[records], batch_size)
    for part, (lines, lengths, sums) in shared_out(parts, run, advance):
        places = table.column("row").take(pa.array(records[part])).to_numpy()
        scores[places] = sums
        for place, line, length in zip(places, lines.tolist(), lengths.tolist(), strict=True):
            ids[place] = line[:length]
    return Decoded(ids, scores)


def token_losses(
    model: "Transformer", table: pa.Table, rows: int, *, batch_size: int
) -> TokenLosses:
    """Score every reference of every row under the model, with the right tokens before each."""
    import torch

    config = model.config
    sources, targets = TokenColumn(table.column("source")), TokenColumn(table.column("target"))

    def run(part: Rows) -> Result:
        source = to_device_of(model, sources.padded(part, config.pad_id))
        target = to_device_of(model, targets.padded(part, config.pad_id))
        begin = target.new_full((len(part), 1), config.bos_id)
        hidden = model.decode_hidden(
            torch.cat([begin, target[:, :-1]], dim=1), model.encode(source)
        )
        real = target != config.pad_id
        return _token_nll(model, hidden[real], target[real])

    model.eval()
    parts = longest_first(targets.lengths, batch_size)
    with torch.inference_mode():
        return summed_by_row(shared_out(parts, run), table, rows)


def class_probabilities(
    model: "EncoderClassifier", table: pa.Table, *, batch_size: int
) -> NDArray[np.float32]:
    """Probabilities of the labels, float32 `[rows, labels]`, in the order of the split."""
    import torch

    sources = TokenColumn(table.column("source"))

    def run(part: Rows) -> Result:
        source = to_device_of(model, sources.padded(part, model.config.pad_id))
        return (model(source).float().softmax(dim=-1).cpu().numpy(),)

    probabilities = np.zeros((table.num_rows, model.config.num_labels), np.float32)
    model.eval()
    parts = longest_first(sources.lengths, batch_size)
    with torch.inference_mode():
        for part, (some,) in shared_out(parts, run):
            probabilities[part] = some
    return probabilities


def _token_nll(
    model: "Transformer", hidden: "torch.Tensor", target: "torch.Tensor"
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """-log p of each token, and whether it was the likeliest; `hidden` is `[tokens, d_model]`."""
    import torch

    size = max(1, _LOGITS_AT_ONCE // model.config.target_vocab_size)
    nll, right = [], []
    for some, ids in zip(torch.split(hidden, size), torch.split(target, size), strict=True):
        log_probabilities = model.project(some).float().log_softmax(dim=-1)
        nll.append(-log_probabilities.gather(1, ids[:, None]).squeeze(1).cpu().numpy())
        right.append((log_probabilities.argmax(dim=-1) == ids).cpu().numpy())
    return np.concatenate(nll), np.concatenate(right)
