"""Rows that are markup, scripts, formulas, templates and escape sequences go through all six
stages, as text and as labels, and nothing in what the stages write runs or renders."""

import csv
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import markdown
import pyarrow.parquet as pq
import pytest
from tests.visualization.report.test_report import Page

from scratchformer.evaluation.tables.csv_injection import inert, original
from scratchformer.stages.evaluate import evaluate
from scratchformer.stages.finetune import finetune
from scratchformer.stages.prepare import prepare
from scratchformer.stages.tokenize import tokenize
from scratchformer.stages.train_scratch import train_scratch
from scratchformer.stages.visualize import visualize
from scratchformer.visualization.html import csp_hash

from .test_own_data import TINY, changed, params_file, run

__all__ = ["params_file"]

FORMULA = "=cmd|'/C touch canary'!A0"
MARKUP = "<x-canary onerror=alert(1)>"
TEMPLATE = "{{7*7}}{label}`[a](javascript:b)"
LABELS = (FORMULA, MARKUP, TEMPLATE)
TEXTS = (
    '=HYPERLINK("http://example.org/?"&A1,"go")', "+1-1", "-2+3", "@SUM(1+1)", "'=1+1",
    "<img src=x onerror=alert(1)>", "<script>open('canary','w')</script>", "</td><x-canary>",
    '"; DROP TABLE runs; --', "{{7*7}}{% for x in ''.__class__.__mro__ %}{{x}}{% endfor %}",
    "[click](javascript:alert(1)) ![x](x-canary:1)", "$(touch canary) `touch canary`",
    "\x1b]0;owned\x07\x1b[2Jgone", "${jndi:ldap://example.org/a}",
    "<!--#exec cmd='touch canary'-->",
)  # fmt: skip


def write_rows() -> None:
    numbers, raw = range(len(TEXTS) * 8), Path("data/raw")
    with (raw / "rows.jsonl").open("w", encoding="utf-8") as file:
        for number in numbers:
            row = {"text": f"{TEXTS[number % len(TEXTS)]} {number}", "label": LABELS[number % 3]}
            print(json.dumps(row), file=file)
    with (raw / "pairs.jsonl").open("w", encoding="utf-8") as file:
        for number in numbers:
            text = f"{TEXTS[number % len(TEXTS)]} {number}"
            print(json.dumps({"source": text, "target": text.replace(" ", "_")}), file=file)


def assert_inert(page: str) -> None:
    """No element and no attribute of a row, and nothing that could run but the page's own scripts,
    which its policy names by their hashes."""
    parsed = Page(page)
    assert not {"x-canary", "iframe", "object"} & set(parsed.tags)
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", page, re.S)
    assert len(scripts) == parsed.tags.count("script")
    policies = [value for name, value in parsed.attributes if name == "content"]
    for kind, text in scripts:
        named = any(csp_hash(text) in policy for policy in policies)
        assert "application/json" in kind or named
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]
    links = [value for name, value in parsed.attributes if name in ("src", "href")]
    assert all(value.startswith(("data:image/", "#")) for value in links)


@pytest.mark.slow
def test_rows_that_are_code_stay_text(
    params_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows()
    split = {"valid": 0.2, "test": 0.3}
    sources = {
        "scratch": {
            "task": "seq2seq", "split": split,
            "source": {"kind": "files", "train": "data/raw/pairs.jsonl",
                       "columns": {"source": "source", "target": "target"}},
        },
        "finetune": {
            "task": "classification", "split": split,
            "source": {"kind": "files", "train": "data/raw/rows.jsonl",
                       "columns": {"text": "text", "label": "label"}},
        },
    }  # fmt: skip
    params = changed(params_file, TINY, {"prepare": sources})
    run(params, prepare, tokenize, train_scratch, finetune, evaluate, visualize)

    said = capsys.readouterr()
    assert "owned" in said.out and not {"\x1b", "\x07"} & {*said.out, *said.err}

    report = Path("reports/report.html").read_text(encoding="utf-8")
    assert_inert(report)
    shown = Page(report).text
    assert "probability" in shown and list(Path("reports/figures").glob("*.png"))
    assert all(label in shown for label in LABELS)  # the template as it is, not "49"
    for figure in Path("reports/figures").glob("*.svg"):
        for element in ET.parse(figure).iter():
            assert element.tag.rpartition("}")[2] not in ("script", "foreignObject", "x-canary")
            assert not [name for name in element.attrib if name.startswith("on")]

    card = Path("models/finetuned/README.md").read_text(encoding="utf-8")
    rendered = markdown.markdown(card.partition("---\n#")[2])
    assert_inert(rendered)
    assert all(label in Page(rendered).text for label in LABELS)

    formulas = 0
    for table in Path("reports/predictions").glob("*.csv"):
        with table.open(encoding="utf-8", newline="") as file:
            for cell in (cell for row in csv.reader(file) for cell in row):
                formulas += cell == inert(FORMULA)
                if cell.startswith(("=", "+", "-", "@", "\t", "\r")):
                    float(cell)  # a negative number is not text
    assert formulas
    labels = pq.read_table("reports/predictions/finetune-after.parquet")["label"].to_pylist()
    assert set(labels) == set(LABELS)  # no apostrophe where no spreadsheet looks
    assert not list(Path().rglob("canary*"))


@pytest.mark.parametrize("text", [*TEXTS, *LABELS, "\tx", "\rx", "''=x", "plain", "'plain", ""])
def test_a_cell_is_read_as_it_was(text: str) -> None:
    assert original(inert(text)) == text
    assert not inert(text).startswith(("=", "+", "-", "@", "\t", "\r"))


def test_numbers_are_not_touched() -> None:
    assert [inert(value) for value in (-1.5, 0, None, True)] == [-1.5, 0, None, True]
