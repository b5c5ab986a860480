"""What a row must be, whichever source it comes from.

A good row has one input text (`source` or `text`) and at least one target (`target` or `label`).
A classification may ask about two texts together (does one follow from the other?): the second is
`text_pair`. Texts are Unicode without NUL, not blank, at most `MAX_CHARACTERS` long. They are made
canonical here, once: Unicode form NFC, outer blanks stripped, every other run of white space one
blank. So the same text is the same bytes everywhere after, and a decoder can be asked to give it
back.

Nothing in a text is ever interpreted: markup, formulas and the names of special tokens are letters
like any other.
"""

import unicodedata
from collections.abc import Mapping
from typing import Any, NoReturn

from scratchformer.base.tasks import TASKS, Task, TaskName
from scratchformer.data.preparation.rows import RawRow, Row

MAX_CHARACTERS = 100_000
"""Longest text. A line beyond it is a file that lost its line ends, or not text at all."""


class BrokenContract(Exception):
    """A row is not what it must be; the message is the reason written to the report."""


def check(raw: RawRow, name: TaskName) -> Row:
    """The canonical row.

    Raises:
        BrokenContract: a value is missing, blank, too long, not text, or holds bytes that are not
            UTF-8 or NUL characters.
    """
    task, values = TASKS[name], raw.values
    fields = [task.input_field]
    if task.pair_field is not None and task.pair_field in values:
        fields.append(task.pair_field)
    inputs = tuple(_text(values, field) for field in fields)
    place = f"{raw.file.rpartition('/')[2]}:{raw.line}"
    identity = _text(values, "id") if "id" in values else place
    group = _text(values, "group") if "group" in values else None
    return Row(identity, inputs, _targets(values, task), group)


def _targets(values: Mapping[str, Any], task: Task) -> tuple[str, ...]:
    """The references, each once and in their order; or the one label."""
    field = task.answer_field
    given = values.get(field)
    if not isinstance(given, list):
        return (_text(values, field),)
    if task.labelled:
        _fail(f"`{field}` holds a list; expected one label")
    if not given:
        _fail(f"`{field}` is an empty list")
    # A dict keeps the first of equal references and their order.
    return tuple(dict.fromkeys(_text({field: item}, field) for item in given))


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
