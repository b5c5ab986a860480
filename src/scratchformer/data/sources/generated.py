"""Tasks whose right answer is known by construction: if a model fails here, it is the model.

- identity: English → the same English. The sentences come from the language reference that every
  Python carries (`pydoc_data.topics`, PSF licence), so nothing has to be downloaded; another minor
  version of Python has slightly other sentences. The few hundred whole sentences come first, then
  their words drawn at random: the skew of real word frequencies stays, but no order of words can be
  learned by heart, so that the only way to a right answer is to look where the word stands.
- reverse: random letters, parted by blanks → the same in reverse order. Nothing can be learned by
  heart and no position may be copied blindly: it needs attention to work.
"""

import random
import re
import sys
from itertools import islice

from scratchformer.base.errors import ParamsError
from scratchformer.base.tasks import SEQ2SEQ, TaskName
from scratchformer.data.preparation.rows import BadRow, Corpus, RawRow
from scratchformer.params import GeneratedSource

_PROSE = re.compile(r"[A-Z][a-z]*( \(?[A-Za-z0-9'-]+\)?[,;:]?)+[.!?]")
_MARKUP = re.compile(r"^(\* |\d+\. )|\[\w+\]|\*+|`+|(?<!\w)\"|\"(?!\w)")
_SENTENCE_WORDS = range(4, 13)
_DRAWN_WORDS = range(3, 13)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_REVERSE_LENGTHS = (1, 20)


def open_generated(source: GeneratedSource, task: TaskName, seed: int) -> Corpus:
    """`source.rows` different rows, drawn by `seed`.

    Raises:
        ParamsError: the task is not seq2seq.
    """
    if task != SEQ2SEQ.name:
        raise ParamsError(f"source {source.name} is for the task seq2seq, not {task}")
    if source.name == "identity":
        rows = _identity(source.rows, seed)
        origin = f"pydoc_data.topics of Python {sys.version_info.major}.{sys.version_info.minor}"
        description, licence = "English to the same English", "PSF"
    else:
        rows = _reverse(source.rows, seed)
        origin, description, licence = "generated", "letters to the same letters reversed", "none"
    return Corpus(
        name=source.name,
        description=description,
        origin=origin,
        licence=licence,
        task=task,
        splits={"train": lambda: iter(rows)},
    )


def sentences() -> list[str]:
    """Plain English sentences of the language reference, without code, lists and markup."""
    from pydoc_data.topics import topics

    found: dict[str, None] = {}
    for _, page in sorted(topics.items()):
        for paragraph in re.split(r"\n\s*\n", page):
            text = _MARKUP.sub("", " ".join(paragraph.split()))
            text = re.sub(r"(?<=\w)- (?=\w)", "-", text)  # a hyphen at the end of a line
            for sentence in re.split(r"(?<=[.!?]) (?=[A-Z])", text):
                if len(sentence.split()) in _SENTENCE_WORDS and _PROSE.fullmatch(sentence):
                    found[sentence] = None
    return list(found)


def _identity(count: int, seed: int) -> list[RawRow | BadRow]:
    """Whole sentences first, in random order; then their words, drawn at random."""
    draw = random.Random(seed)
    whole = sentences()
    draw.shuffle(whole)
    words = [word for sentence in whole for word in sentence.split()]
    texts = dict.fromkeys(whole)  # a dictionary keeps the order of a set
    while len(texts) < count:
        texts[" ".join(draw.choices(words, k=draw.choice(_DRAWN_WORDS)))] = None
    return [
        _row(text, text, number, "identity")
        for number, text in enumerate(islice(texts, count), 1)
    ]


def _reverse(count: int, seed: int) -> list[RawRow | BadRow]:
    draw = random.Random(seed)
    texts: dict[str, None] = {}
    while len(texts) < count:
        letters = draw.choices(_LETTERS, k=draw.randint(*_REVERSE_LENGTHS))
        texts[" ".join(letters)] = None
    return [
        _row(text, text[::-1], number, "reverse") for number, text in enumerate(texts, 1)
    ]


def _row(source: str, target: str, number: int, name: str) -> RawRow:
    return RawRow({"source": source, "target": target, "id": f"{name}-{number}"}, name, number)
