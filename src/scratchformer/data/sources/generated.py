"""Tasks whose right answer is known by construction: if a model fails here, it is the model.

- identity: English → the same English. The sentences come from the language reference that every
  Python carries (`pydoc_data.topics`, PSF licence), so nothing has to be downloaded; another minor
  version of Python has slightly other sentences. Real text keeps the skew of real word frequencies,
  which random strings lack. Rows beyond the whole sentences are spans of them; all spans of a
  sentence are one group, so no span of a test sentence is ever trained on.
- reverse: random letters, parted by blanks → the same in reverse order. Nothing can be learned by
  heart and no position may be copied blindly: it needs attention to work.
"""

import random
import re
import sys
from collections.abc import Iterator
from itertools import islice

from scratchformer.base.errors import ParamsError
from scratchformer.base.tasks import SEQ2SEQ, TaskName
from scratchformer.data.preparation.rows import BadRow, Corpus, RawRow
from scratchformer.params import GeneratedSource

_PROSE = re.compile(r"[A-Z][a-z]*( \(?[A-Za-z0-9'-]+\)?[,;:]?)+[.!?]")
_MARKUP = re.compile(r"^(\* |\d+\. )|\[\w+\]|\*+|`+|(?<!\w)\"|\"(?!\w)")
_SENTENCE_WORDS = range(4, 31)
_SPAN_WORDS = range(3, 13)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_REVERSE_LENGTHS = (1, 20)


def open_generated(source: GeneratedSource, task: TaskName, seed: int) -> Corpus:
    """`source.rows` different rows, drawn by `seed`.

    Raises:
        ParamsError: the task is not seq2seq, or more rows are asked for than there are.
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
        grouped=source.name == "identity",
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
    """Whole sentences first, in random order; then random spans of them."""
    draw = random.Random(seed)
    whole = sentences()
    draw.shuffle(whole)
    texts = {sentence: place for place, sentence in enumerate(whole)}
    if count > len(texts):
        spans = {span: place for place, text in enumerate(whole) for span in _spans(text)}
        further = [(span, place) for span, place in spans.items() if span not in texts]
        if count > len(texts) + len(further):
            raise ParamsError(
                f"source.rows: {count:,} asked for, but identity has no more than "
                f"{len(texts) + len(further):,} different rows"
            )
        texts |= dict(draw.sample(further, count - len(texts)))
    return [
        _row(text, text, number, "identity", group=f"sentence-{place}")
        for number, (text, place) in enumerate(islice(texts.items(), count), 1)
    ]


def _spans(sentence: str) -> Iterator[str]:
    words = sentence.split()
    for length in _SPAN_WORDS:
        for start in range(len(words) - length + 1):
            yield " ".join(words[start : start + length])


def _reverse(count: int, seed: int) -> list[RawRow | BadRow]:
    draw = random.Random(seed)
    texts: dict[str, None] = {}
    while len(texts) < count:
        letters = draw.choices(_LETTERS, k=draw.randint(*_REVERSE_LENGTHS))
        texts[" ".join(letters)] = None
    return [
        _row(text, text[::-1], number, "reverse") for number, text in enumerate(texts, 1)
    ]


def _row(source: str, target: str, number: int, name: str, group: str | None = None) -> RawRow:
    values = {"source": source, "target": target, "id": f"{name}-{number}"}
    return RawRow(values if group is None else values | {"group": group}, name, number)
