"""How many training rows a control looks at, so that time and memory stay bounded."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TEXT_ROWS = 50_000  # of a regression on TF-IDF, and of the search for near duplicates
TEXT_CHARACTERS = 6_000_000  # the same, where texts are long: a gigabyte of counted pieces
PROBE_ROWS = 10_000  # that the pretrained model embeds: some minutes on one core
TRAIN_ROWS = 1_000  # that a trained model is scored on, beside the validation split
WORDS = 500_000  # of the letter tree


class Drawn(NamedTuple):
    """Training rows drawn without replacement, in ascending order, out of how many."""

    rows: NDArray[np.int64]
    of: int

    @property
    def all(self) -> bool:
        """Nothing was left out."""
        return len(self.rows) == self.of

    def __str__(self) -> str:
        return f"{len(self.rows):,} of {self.of:,} training rows, drawn at random"


def draw(rows: int, limit: int, seed: int) -> Drawn:
    """At most `limit` of `rows` row numbers."""
    if rows <= limit:
        return Drawn(np.arange(rows), rows)
    return Drawn(np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False)), rows)


def draw_words(words: Sequence[str], seed: int) -> Drawn:
    """At most `WORDS` words."""
    return draw(len(words), WORDS, seed)


def draw_texts(texts: Sequence[str], seed: int) -> Drawn:
    """At most `TEXT_ROWS` texts and about `TEXT_CHARACTERS` characters of them."""
    mean = max(1.0, sum(map(len, texts)) / max(1, len(texts)))
    return draw(len(texts), max(1, min(TEXT_ROWS, int(TEXT_CHARACTERS / mean))), seed)
