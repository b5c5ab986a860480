"""Length-bucketed token batches: rows of similar length together, in a counted order.

Padding is work thrown away: in plain random batches about half of the positions can be padding.
Here the rows of an epoch are shuffled, sorted by length (rows of equal length stay shuffled), cut
into batches of at most `batch_tokens` positions, and the batches are shuffled.

The order of epoch e depends on (seed, e) and on nothing else, so the place in the data is one
number: the index of the next batch since the start of training. Where one batch ends and the next
begins depends on the sorted lengths alone, therefore every epoch has equally many batches.

Tokens and their offsets stay in the memory-mapped Arrow file; only the lengths of both sides, the
bucket of a row and the order are held: 14 to 16 bytes a row. An epoch sorts numbers of buckets,
which takes time in proportion to the rows while there are at most 65,536 of them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.data.tokenized.columns import Ids, TokenColumn


@dataclass(frozen=True)
class Batch:
    """Padded rows of one forward pass.

    Attributes:
        records: [batch] indices into the tokenized split.
        rows: [batch] indices into the prepared split (several references share a row).
        source: [batch, source] token ids, EOS included, padded on the right.
        target: [batch, target] the same for the target; None for classification.
        label: [batch] class ids; None for sequence to sequence.
        tokens: what a loss sums over: target tokens without padding, or labels.
    """

    records: Ids
    rows: Ids
    source: Ids
    target: Ids | None
    label: Ids | None
    tokens: int


class TokenBatches:
    """The batches of one tokenized split. `rows` is its column of that name.

    Args:
        table: columns `row, source, target` or `row, source, label` (see tokenization).
        batch_tokens: positions of a batch, padding included: rows x longest source and
            rows x longest target both stay at or below it.
        seed: see the head of this file.
        pad_id: id that fills up short rows.
        noise: (batch, epoch) → batch, for the batches of a training; see noise.py.

    Raises:
        ParamsError: a single row is longer than `batch_tokens`.
        DataError: the split is empty.
    """

    def __init__(
        self,
        table: pa.Table,
        batch_tokens: int,
        seed: int,
        pad_id: int = 0,
        noise: Sequence[Callable[[Batch, int], Batch]] = (),
    ) -> None:
        if not table.num_rows:
            raise DataError("a tokenized split has no rows; see reports/data.json for the counts")
        self.rows = table.column("row").to_numpy()
        self._source = TokenColumn(table.column("source"))
        names = table.column_names
        self._target = TokenColumn(table.column("target")) if "target" in names else None
        self._labels = table.column("label").to_numpy() if "label" in names else None
        self._seed, self._pad_id, self._noise = seed, pad_id, noise
        source = self._source.lengths
        target = self._target.lengths if self._target else np.ones_like(source)
        self.lengths = (source, target) if self._target else (source,)
        longest = np.maximum(source, target)
        # Rows of one batch first share the longer side, then the other: both get little padding.
        keys = (target, source, longest)
        by_length = np.lexsort(keys)
        self._bucket = _numbered(keys, by_length)
        self._cuts = _cuts(longest[by_length], batch_tokens, by_length)
        firsts = self._cuts[:-1]
        sizes = np.diff(self._cuts)
        self.target_tokens = int(target.sum())
        self._padded_tokens = int(sum(
            (np.maximum.reduceat(side[by_length], firsts) * sizes).sum()
            for side in (source, target)
        ))
        self._tokens = int(source.sum() + target.sum())
        self._epoch_in_use: tuple[int, npt.NDArray[Any], Ids] | None = None

    @property
    def source_lengths(self) -> npt.NDArray[Any]:
        """[records] tokens of each source, EOS included."""
        return self._source.lengths

    def __len__(self) -> int:
        """Batches of one epoch."""
        return len(self._cuts) - 1

    @property
    def padding_share(self) -> float:
        """Share of the positions, source and target together, that hold padding."""
        return 1 - self._tokens / self._padded_tokens

    def batch(self, index: int) -> Batch:
        """The batch number `index` (from 0) of an endless training: a pure function."""
        epoch, position = divmod(index, len(self))
        order, batch_order = self._epoch(epoch)
        first, last = self._cuts[batch_order[position] : batch_order[position] + 2]
        batch = self.collate(order[first:last].astype(np.int64))
        for change in self._noise:
            batch = change(batch, epoch)
        return batch

    def in_length_order(self) -> Iterator[Batch]:
        """Every record once, always in the same order: for validation."""
        order = np.argsort(self._bucket, kind="stable")
        for first, last in zip(self._cuts[:-1], self._cuts[1:], strict=True):
            yield self.collate(order[first:last])

    def _epoch(self, epoch: int) -> tuple[npt.NDArray[Any], Ids]:
        """(records in the order they are cut, order of the batches) of one epoch."""
        if self._epoch_in_use is None or self._epoch_in_use[0] != epoch:
            random = np.random.default_rng([self._seed, epoch])
            shuffled = random.permutation(len(self._bucket))
            # Rows of equal lengths stay shuffled.
            order = shuffled[np.argsort(self._bucket[shuffled], kind="stable")]
            held = order.astype(np.min_scalar_type(len(order)))
            self._epoch_in_use = (epoch, held, random.permutation(len(self)))
        return self._epoch_in_use[1:]

    def collate(self, records: Ids) -> Batch:
        """These records, in this order, as one batch."""
        target = self._target.padded(records, self._pad_id) if self._target else None
        tokens = int(self._target.lengths[records].sum()) if self._target else len(records)
        return Batch(
            records=records,
            rows=self.rows[records].astype(np.int64),
            source=self._source.padded(records, self._pad_id),
            target=target,
            label=self._labels[records].astype(np.int64) if self._labels is not None else None,
            tokens=tokens,
        )


def _numbered(keys: Sequence[npt.NDArray[np.int32]], by_length: Ids) -> npt.NDArray[Any]:
    """[records] the bucket of each, from 0 in ascending length: equal keys, equal bucket."""
    changed = np.zeros(len(by_length), np.bool_)
    for key in keys:
        ordered = key[by_length]
        changed[1:] |= ordered[1:] != ordered[:-1]
    numbers = np.cumsum(changed)
    bucket = np.empty(len(by_length), np.min_scalar_type(int(numbers[-1])))
    bucket[by_length] = numbers
    return bucket


def _cuts(lengths: npt.NDArray[np.int32], batch_tokens: int, records: Ids) -> Ids:
    """[batches + 1] borders in ascending `lengths`: each batch as large as the budget allows."""
    if lengths[-1] > batch_tokens:
        raise ParamsError(
            f"train_scratch.batch_tokens: {batch_tokens} is below the {lengths[-1]} tokens of "
            f"record {records[-1]}; raise it, or lower tokenize.scratch.max_source_length and "
            "max_target_length"
        )
    cuts = [0]
    while cuts[-1] < len(lengths):
        first = cuts[-1]
        most = lengths[first : first + batch_tokens // max(int(lengths[first]), 1)]
        # Ascending lengths make the padded size of a growing batch ascend too.
        fits = np.arange(1, len(most) + 1) * most <= batch_tokens
        cuts.append(first + int(np.count_nonzero(fits)))
    return np.array(cuts, np.int64)
