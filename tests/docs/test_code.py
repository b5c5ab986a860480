"""The code in the documentation runs, and gives what the page says."""

import doctest
from pathlib import Path

import pytest
from chapters import DOCS
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

SYBIL = Sybil([PythonCodeBlockParser(doctest_optionflags=doctest.ELLIPSIS)])
# A block with a title is a quotation; test_chapters.py compares it with the file it comes from.
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if "```python\n" in page.read_text("utf-8")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_code_runs(page: Path) -> None:
    examples = list(SYBIL.parse(page).examples())
    assert examples
    for example in examples:
        example.evaluate()
