"""Text as it can be drawn: visible blanks, no missing glyphs, no label longer than its place."""

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from matplotlib import font_manager

from scratchformer.visualization.plots.style import SMALL, families

_VISIBLE = {" ": "␣", "\n": "⏎", "\t": "⇥", "\r": "␍", "\u00a0": "⍽"}
_ON_ITS_OWN = ("Mn", "Me", "Mc")  # combining marks need something to stand on
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp")


@lru_cache
def _fonts() -> tuple[Any, ...]:
    properties = (font_manager.FontProperties(family=family) for family in families())
    return tuple(font_manager.get_font(font_manager.findfont(each)) for each in properties)


@lru_cache(maxsize=65536)
def _drawable(character: str) -> str:
    if unicodedata.category(character) in _INVISIBLE:
        return f"U+{ord(character):04X}"
    if any(font.get_char_index(ord(character)) for font in _fonts()):
        return character
    return f"U+{ord(character):04X}"


def printable(text: str) -> str:
    """One line that the installed fonts can draw.

    Runs of white space become one blank; a character without a glyph becomes its code point
    ("U+4E2D"), which tells more than an empty box.
    """
    return "".join(" " if c == " " else _drawable(c) for c in " ".join(text.split()))


def token_label(token: str, length: int = 14) -> str:
    """A token as an axis label: blanks are drawn, a lone combining mark stands on a dotted circle.

    >>> token_label(" ")
    '␣'
    """
    if token and unicodedata.category(token[0]) in _ON_ITS_OWN:
        token = "◌" + token
    return shorten("".join(_VISIBLE.get(c) or _drawable(c) for c in token) or "∅", length)


def shorten(text: str, length: int) -> str:
    """At most `length` characters, the last of them "…" if something was cut.

    >>> shorten("gallstones", 6)
    'galls…'
    """
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def line_pitch(size: float = SMALL) -> float:
    """Inches from one line of text to the next that keep lines of `size` points apart."""
    return size * 1.2 / 72


def every(count: int, inches: float, pitch: float | None = None) -> int:
    """Label every how-manieth of `count` places on an axis of `inches`, so that none overlap."""
    room = max(1, int(inches / (pitch or line_pitch())))
    return -(-count // room) if count else 1


def numbered(tokens: Sequence[str]) -> str:
    """`1 the   2 cat   3 sat`: the key to a picture whose axes have room for numbers only.

    The blank after a number is one that no line is broken at.
    """
    return "   ".join(f"{index}\u00a0{token_label(token)}" for index, token in enumerate(tokens, 1))
