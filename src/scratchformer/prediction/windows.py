"""A text that is longer than its model reads, in windows that overlap by half."""

from typing import Literal

from scratchformer.base.errors import ParamsError
from scratchformer.data.preparation.contract import canonical
from scratchformer.text.inputs import ModelInputs

Long = Literal["cut", "windows"]


def demand_cut(long: Long) -> None:
    """Raises ParamsError for windows: the answers to the parts of a text are no answer to it."""
    if long != "cut":
        raise ParamsError("--long windows is for classifiers; this model writes text")


def windows(inputs: ModelInputs, text: str) -> list[str]:
    """The text if it fits, else pieces of whole words: each as long as the model reads, each
    beginning in the middle of the one before. A single word that is too long is cut.

    Raises:
        ParamsError: the model reads pairs of texts.
    """
    if inputs.rules.pairs:
        raise ParamsError("--long windows: this model reads pairs of texts; use --long cut")
    words = canonical(text).split()
    if _fits(inputs, words):
        return [text]
    pieces, start = [], 0
    while True:
        size = _most(inputs, words[start:])
        pieces.append(" ".join(words[start : start + size]))
        if start + size >= len(words):
            return pieces
        start += max(1, size // 2)


def _most(inputs: ModelInputs, words: list[str]) -> int:
    """How many of the first words fit, at least one; found by halving."""
    low, high = 1, 2
    while high <= len(words) and _fits(inputs, words[:high]):
        low, high = high, 2 * high
    high = min(high, len(words) + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _fits(inputs, words[:middle]) else (low, middle)
    return low


def _fits(inputs: ModelInputs, words: list[str]) -> bool:
    return inputs.encode([" ".join(words)]).cut == 0
