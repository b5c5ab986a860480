"""What a sequence task is about, words or sentences, and in which units: found from its rows.

Words (spelling → phonemes, a name in another alphabet) are right or wrong as a whole, and are
scored by word error rate. Sentences (translation) are scored by BLEU and chrF. Blanks in the source
tell the two apart, except where a script has none: a Chinese sentence is then found by what it is
mapped to.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

OutputKind = Literal["words", "sentences"]
Unit = Literal["characters", "blanks"]

MOST_EMITTED = 2
"""Units of a target that one source character gives, at most, in the control that aligns them."""

_KANA = "\u3040-\u30ff\u31f0-\u31ff"
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
# Thai, Lao, Tibetan, Burmese, Khmer
_OTHERS_WITHOUT_BLANKS = "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff"
_WITHOUT_BLANKS = re.compile(f"[{_KANA}{_HAN}{_OTHERS_WITHOUT_BLANKS}]")
_ENDS_A_SENTENCE = re.compile(r"[.!?。！？…]\W*$")

_LONGEST_WORD = 8  # characters of the median source, in scripts without blanks
_LONGEST_SYMBOL = 2.0  # characters of the mean unit: phonemes have 1 or 2, English words 4 to 5
_PER_CHARACTER = 0.9  # of the rows: one unit for each character, as in Chinese → pinyin


def output_kind(sources: Sequence[str], references: Sequence[Sequence[str]]) -> OutputKind:
    """What the answers are.

    Sources that hold blanks are sentences, and sources in a script that separates words are words
    if they hold none. In Chinese, Japanese, Thai and their like, sources are words if they read
    like a lexicon: one unit of the target for each character (pinyin), or units as short as
    phonemes; or, where targets have no blanks either, short sources without a full stop.
    """
    if _most(" " in source.strip() for source in sources):
        return "sentences"
    if not _most(_WITHOUT_BLANKS.search(source) is not None for source in sources):
        return "words"
    answers = [row[0] for row in references]
    if unit_of(references) == "blanks":
        units = [answer.split() for answer in answers]
        matched = [len(u) == len(s.strip()) for u, s in zip(units, sources, strict=True)]
        symbols = np.mean([len(unit) for row in units for unit in row]) <= _LONGEST_SYMBOL
        return "words" if symbols or np.mean(matched) >= _PER_CHARACTER else "sentences"
    ended = _most(_ENDS_A_SENTENCE.search(source.strip()) is not None for source in sources)
    typical = float(np.median([len(source.strip()) for source in sources]))
    return "sentences" if ended or typical > _LONGEST_WORD else "words"


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


def can_be_aligned(source: int, target: int) -> bool:
    """Whether a source of that many characters can give a target of that many units, if each
    character gives at most `MOST_EMITTED`."""
    return 0 < target <= MOST_EMITTED * source


def is_chinese(texts: Sequence[str]) -> bool:
    """Most texts hold Chinese characters, and few hold Japanese kana."""
    han, kana = re.compile(f"[{_HAN}]"), re.compile(f"[{_KANA}]")
    return _most(han.search(text) is not None for text in texts) and not _most(
        kana.search(text) is not None for text in texts
    )


def _most(facts: Iterable[bool]) -> bool:
    """More than half are true."""
    return float(np.mean(list(facts))) > 0.5
