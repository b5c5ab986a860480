"""How far an output is from the nearest of several right answers.

Words with several pronunciations, sentences with several translations: the fair reference is the
one that needs the fewest edits (the convention of grapheme-to-phoneme work, e.g. Yao and Zweig
2015, arXiv:1506.00196, section 4).
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from rapidfuzz.distance import Levenshtein

Unit = Literal["characters", "blanks"]


class Nearest(NamedTuple):
    """Edits to the nearest reference, and the length of that reference; both in units."""

    distance: int
    length: int


def unit_of(references: Sequence[Sequence[str]]) -> Unit:
    """What one edit changes: a character, or what stands between blanks (a phoneme, a word).

    Blanks decide if more than half of the first references hold one; a target such as a
    transliterated name holds none, and there the whole name as a single unit would say nothing.
    """
    with_blank = sum(" " in row[0].strip() for row in references)
    return "blanks" if 2 * with_blank > len(references) else "characters"


def split_units(text: str, unit: Unit) -> list[str]:
    """`"K AE T"` → `["K", "AE", "T"]`, or the characters of a text."""
    return text.split() if unit == "blanks" else list(text)


def nearest_reference(prediction: str, references: Sequence[str], unit: Unit) -> Nearest:
    """The reference with the smallest Levenshtein distance; the first one wins a tie."""
    output = split_units(prediction, unit)
    candidates = [split_units(reference, unit) for reference in references]
    distances = [Levenshtein.distance(output, candidate) for candidate in candidates]
    best = min(range(len(distances)), key=distances.__getitem__)
    return Nearest(distances[best], len(candidates[best]))
