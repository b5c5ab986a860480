"""How far an output is from the nearest of several right answers.

Words with several pronunciations, sentences with several translations: the fair reference is the
one that needs the fewest edits (the convention of grapheme-to-phoneme work, e.g. Yao and Zweig
2015, arXiv:1506.00196, section 4).
"""

from collections.abc import Sequence
from typing import NamedTuple

from rapidfuzz.distance import Levenshtein

from scratchformer.base.output_kind import Unit, split_units


class Nearest(NamedTuple):
    """Edits to the nearest reference, and the length of that reference; both in units."""

    distance: int
    length: int


def nearest_reference(prediction: str, references: Sequence[str], unit: Unit) -> Nearest:
    """The reference with the smallest Levenshtein distance; the first one wins a tie."""
    output = split_units(prediction, unit)
    candidates = [split_units(reference, unit) for reference in references]
    distances = [Levenshtein.distance(output, candidate) for candidate in candidates]
    best = min(range(len(distances)), key=distances.__getitem__)
    return Nearest(distances[best], len(candidates[best]))
