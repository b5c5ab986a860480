"""What a row must be, whichever source it comes from.

A good row has one input text (`source` or `text`) and at least one answer (`target` or `label`);
texts are Unicode without NUL, not blank, at most `MAX_CHARACTERS` long. Texts are made canonical
here, once: Unicode form NFC, outer blanks stripped, every other run of white space one blank. So
the same text is the same bytes everywhere after, and a decoder can be asked to give it back.

A classification may ask of two texts together (does one follow from the other?). Such a pair,
`text` and `text_pair`, is one text with a tab between its parts, which no canonical text contains.

Nothing in a text is ever interpreted: markup, formulas and the names of special tokens are letters
like any other.
"""

import unicodedata
from collections.abc import Mapping
from typing import Any, NoReturn

from scratchformer.base.tasks import TaskName
from scratchformer.data.preparation.rows import RawRow, Row

MAX_CHARACTERS = 100_000
"""Longest text. A line beyond it is a file that lost its line ends, or not text at all."""

PAIR_MARK = "\t"

INPUT_FIELD: dict[TaskName, str] = {"seq2seq": "source", "classification": "text"}
ANSWER_FIELD: dict[TaskName, str] = {"seq2seq": "target", "classification": "label"}


class BrokenContract(Exception):
    """A row is not what it must be; the message is the reason written to the report."""


def check(raw: RawRow, task: TaskName) -> Row:
    """The canonical row.

    Raises:
        BrokenContract: a value is missing, blank, too long, not text, or holds bytes that are not
            UTF-8 or NUL characters.
    """
    values = raw.values
    text = _text(values, INPUT_FIELD[task])
    if "text_pair" in values:
        text += PAIR_MARK + _text(values, "text_pair")
    answer_field = ANSWER_FIELD[task]
    answers = values.get(answer_field)
    if isinstance(answers, list):
        if task == "classification":
            _fail(f"`{answer_field}` holds a list; expected one label")
        if not answers:
            _fail(f"`{answer_field}` is an empty list")
        # A dict keeps the first of equal references and their order.
        distinct = dict.fromkeys(_text({answer_field: item}, answer_field) for item in answers)
        targets = tuple(distinct)
    else:
        targets = (_text(values, answer_field),)
    place = f"{raw.file.rpartition('/')[2]}:{raw.line}"
    identity = _text(values, "id") if "id" in values else place
    group = _text(values, "group") if "group" in values else None
    return Row(identity, text, targets, group)


def canonical(text: str) -> str:
    """NFC, white space collapsed and stripped."""
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.split())


def _text(values: Mapping[str, Any], field: str) -> str:
    value = values.get(field)
    if isinstance(value, int) and field in ("id", "label", "group"):
        value = str(value)
    if not isinstance(value, str):
        _fail(f"`{field}` is {_kind(value)}; expected text")
    if len(value) > MAX_CHARACTERS:
        _fail(f"`{field}` has {len(value):,} characters; at most {MAX_CHARACTERS:,} are read")
    if "\0" in value:
        _fail(f"`{field}` holds a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        # Readers turn bytes that are not UTF-8 into lone surrogates, so one check finds them all.
        _fail(f"`{field}` is not valid UTF-8 (character {error.start + 1})")
    value = canonical(value)
    if not value:
        _fail(f"`{field}` is empty")
    return value


def _kind(value: Any) -> str:
    return "missing" if value is None else f"of type {type(value).__name__}"


def _fail(reason: str) -> NoReturn:
    raise BrokenContract(reason)
