"""Rows of similar length together, in an order that is a function of (seed, epoch).

The Trainer of transformers can group by length too, but draws the order from the global random
generator: after a resume the rest of the epoch is another one. Here the order of epoch e is
computed from (seed, e) alone, so a resumed run skips the batches that were done and goes on with
exactly those that were not.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from scratchformer.runtime.randomness import derive_seed


class LengthGroupedSampler(Sampler[int]):
    """Row numbers such that every `batch_size` in a row have nearly the same length.

    The rows are shuffled and sorted by length (equal lengths stay shuffled), cut into batches,
    and the batches are shuffled. A batch that is not full comes last, because the data loader
    cuts the stream of row numbers every `batch_size`.

    Args:
        lengths: [rows] tokens of every row.
        batch_size: rows of a batch, over all processes and accumulated forward passes.
        seed: see above.
    """

    def __init__(self, lengths: npt.NDArray[np.int64], batch_size: int, seed: int) -> None:
        self._lengths, self._batch_size, self._seed = lengths, batch_size, seed
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._lengths)

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer at the start of every epoch."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        return iter(self.order(self._epoch).tolist())

    def order(self, epoch: int) -> npt.NDArray[np.int64]:
        """[rows] the order of one epoch: a pure function."""
        random = np.random.default_rng(derive_seed(self._seed, "order", epoch))
        shuffled = random.permutation(len(self._lengths))
        by_length = shuffled[np.argsort(self._lengths[shuffled], kind="stable")]
        full, rest = divmod(len(by_length), self._batch_size)
        # The short batch is cut out at a random place, so that it is not always the longest rows.
        start = self._batch_size * int(random.integers(full + 1))
        short = by_length[start : start + rest]
        batches = np.delete(by_length, np.s_[start : start + rest]).reshape(full, self._batch_size)
        return np.concatenate([batches[random.permutation(full)].ravel(), short])
