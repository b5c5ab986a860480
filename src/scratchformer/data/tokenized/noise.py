"""Batches that look different in every epoch: word dropout, and BPE-dropout (bpe_dropout.py).

Noise is a function of (seed, epoch, record), never of the batch that a record is in or of what was
drawn before, so a resumed training sees the same tokens. Validation and the test split have none.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from scratchformer.data.tokenized.batches import Batch
from scratchformer.data.tokenized.bpe_dropout import make_bpe_dropout
from scratchformer.data.tokenized.columns import Ids
from scratchformer.params import TrainScratch
from scratchformer.runtime.randomness import derive_seed
from scratchformer.text.tokenizers import UNK_ID, TokenizerPair

Noise = Callable[[Batch, int], Batch]
MOST_TOKENS = 2**20  # of a row: where the numbers of the next row begin


@dataclass(frozen=True)
class WordDropout:
    """Each token of the source is unknown with probability p; special tokens stay.

    The model must not rely on any one token (Iyyer et al. 2015, who leave words out; replaced by
    UNK, as in Sennrich et al. 2016, https://arxiv.org/abs/1606.02891, section 2, the others keep
    their positions). Only the source: a target that the model shall write is left as it is.
    """

    p: float
    seed: int

    def __call__(self, batch: Batch, epoch: int) -> Batch:
        start = derive_seed(self.seed, "word_dropout", epoch)
        draws = uniform(start, batch.records, batch.source.shape[1])
        unknown = (draws < self.p) & (batch.source > UNK_ID)
        return replace(batch, source=np.where(unknown, UNK_ID, batch.source))


def uniform(start: int, records: Ids, width: int) -> npt.NDArray[np.float64]:
    """[records, width] numbers from 0 to 1, each a function of (start, record, place) alone.

    They are numbers `record * MOST_TOKENS + place` of the sequence SplitMix64 (Steele et al. 2014,
    figure 13), which can be computed at any place without those before it.
    """
    place = records[:, None] * MOST_TOKENS + np.arange(width)
    with np.errstate(over="ignore"):  # modulo 2**64 is meant
        x = np.uint64(start) + (place.astype(np.uint64) + np.uint64(1)) * np.uint64(
            0x9E3779B97F4A7C15
        )
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return (x >> np.uint64(11)).astype(np.float64) * 2.0**-53


def make_noise(
    settings: TrainScratch, tokenizers: TokenizerPair, info: dict[str, Any], seed: int
) -> list[Noise]:
    """What `train_scratch.bpe_dropout` and `word_dropout` ask for, in this order.

    Args:
        settings: section `train_scratch`.
        tokenizers: those that made the rows.
        info: data/tokenized/scratch/info.json, for the largest lengths.
        seed: see the head of this file.

    Raises:
        ParamsError: BPE-dropout, but no side has BPE tokens.
    """
    noise: list[Noise] = []
    if settings.bpe_dropout:
        noise.append(make_bpe_dropout(settings.bpe_dropout, tokenizers, info, seed))
    if settings.word_dropout:
        noise.append(WordDropout(settings.word_dropout, seed))
    return noise
