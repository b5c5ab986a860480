"""Which test rows are looked at: by rule, never by chance and never by hand."""

from collections.abc import Sequence

import numpy as np

MAX_TOKENS = 64  # longer rows are not drawn: their labels would be unreadable


def choose_examples(
    lengths: Sequence[int], right: Sequence[bool], ids: Sequence[str], count: int
) -> list[int]:
    """Rows to look at: right answers of different lengths from the median up, never by chance.

    Rows over `MAX_TOKENS` are left out; wrong answers are taken only if there are no right ones.
    """
    drawable = [i for i, length in enumerate(lengths) if 1 < length <= MAX_TOKENS]
    candidates = [i for i in drawable if right[i]] or drawable
    candidates.sort(key=lambda i: (lengths[i], ids[i]))
    if not candidates:
        return []
    places = np.linspace(0.5, 0.95, count) * (len(candidates) - 1)
    return [candidates[place] for place in dict.fromkeys(places.round().astype(int).tolist())]
