"""What a row must be."""

import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchformer.base.tasks import TaskName
from scratchformer.data.preparation.contract import MAX_CHARACTERS, BrokenContract, canonical, check
from scratchformer.data.preparation.rows import RawRow


def row(
    task: TaskName, **values: Any
) -> tuple[str, tuple[str, ...], tuple[str, ...], str | None]:
    return tuple(check(RawRow(values, "folder/a.csv", 7), task))  # type: ignore[return-value]


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_canonical_text_is_nfc_without_stray_blanks(text: str) -> None:
    once = canonical(text)
    assert canonical(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert once.split() == canonical(text).split() and "  " not in once
    assert once == once.strip()


def test_markup_formulas_and_special_tokens_are_letters() -> None:
    for text in ("<script>alert(1)</script>", "=1+1", "</s>", "{{ 7 * 7 }}", "%s\\n"):
        assert row("classification", text=text, label=text)[1:3] == ((text,), (text,))


def test_a_row_without_an_id_is_named_after_its_place() -> None:
    assert row("classification", text=" a\u0301  b\n", label=3) == (
        "a.csv:7", ("á b",), ("3",), None
    )


def test_references_are_distinct_and_keep_their_order() -> None:
    found = row("seq2seq", source="read", target=["R IY D", "R EH D", "R  IY D"], group=1, id="x")
    assert found == ("x", ("read",), ("R IY D", "R EH D"), "1")


BROKEN: dict[str, tuple[TaskName, dict[str, Any], str]] = {
    "missing": ("classification", {"text": "a"}, "`label` is missing; expected text"),
    "null": ("seq2seq", {"source": None, "target": "b"}, "`source` is missing"),
    "blank": ("classification", {"text": " \u00a0\n", "label": "b"}, "`text` is empty"),
    "number as text": ("classification", {"text": 3, "label": "b"}, "`text` is of type int"),
    "fraction as label": ("classification", {"text": "a", "label": 0.5}, "of type float"),
    "list as label": ("classification", {"text": "a", "label": ["b"]}, "holds a list"),
    "no reference": ("seq2seq", {"source": "a", "target": []}, "`target` is an empty list"),
    "blank reference": ("seq2seq", {"source": "a", "target": ["b", ""]}, "`target` is empty"),
    "NUL": ("classification", {"text": "a\0", "label": "b"}, "NUL"),
    "lone surrogate": ("classification", {"text": "ab\ud800", "label": "b"}, "(character 3)"),
    "too long": ("classification", {"text": "a" * (MAX_CHARACTERS + 1), "label": "b"}, "at most"),
    "blank group": ("classification", {"text": "a", "label": "b", "group": ""}, "`group` is empty"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_rows_say_why(name: str) -> None:
    task, values, reason = BROKEN[name]
    with pytest.raises(BrokenContract) as error:
        row(task, **values)
    assert reason in str(error.value)
