"""The page is complete in itself, escapes what it shows, and says what it cannot show."""

import base64
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from scratchformer.visualization.analysis.predictions import UnavailableError
from scratchformer.visualization.report.page import (
    Contents,
    Item,
    Missing,
    Picture,
    Section,
    Table,
    or_missing,
    write_report,
)

EVIL = "<script>alert('x')</script>\" onload=\"alert(2)"


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def picture(name: str = "one") -> Picture:
    figure = Figure(figsize=(1, 1))
    figure.add_subplot(title="t")
    return Picture(name, f"Title {EVIL}", f"How {EVIL}", figure)


def write(folder: Path, items: list[Item]) -> tuple[Contents, Page, str]:
    folder.mkdir(exist_ok=True)
    page = folder / "report.html"
    sections = [Section("key", f"Section {EVIL}", f"Intro {EVIL}", items)]
    contents = write_report(sections, [("fact", EVIL)], folder, page, f"Report {EVIL}")
    html = page.read_text(encoding="utf-8")
    return contents, Page(html), html


def test_markup_in_data_is_inert(tmp_path: Path) -> None:
    table = Table(EVIL, EVIL, ["text", EVIL], [[EVIL, "1"]], [EVIL])
    _, page, _ = write(tmp_path, [picture(), table, Missing(EVIL, EVIL)])
    assert "script" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.text.count(EVIL) >= 8  # it is all there, as text


def test_nothing_is_fetched_and_nothing_runs(tmp_path: Path) -> None:
    _, page, html = write(tmp_path, [picture()])
    sources = [value for name, value in page.attributes if name in ("src", "href")]
    assert sources and all(value.startswith(("data:image/", "#")) for value in sources)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "url(" not in html and "@import" not in html
    assert any("default-src 'none'" in value for _, value in page.attributes)


def test_the_figure_in_the_page_is_the_saved_one(tmp_path: Path) -> None:
    contents, page, _ = write(tmp_path, [picture("curve")])
    assert contents.pictures == ["curve"]
    assert (tmp_path / "curve.png").stat().st_size > 500
    source = next(value for name, value in page.attributes if name == "src")
    embedded = base64.b64decode(source.split(",", 1)[1])
    assert embedded == (tmp_path / "curve.svg").read_bytes()


def test_numbers_are_flush_right_and_text_is_not(tmp_path: Path) -> None:
    _, _, html = write(tmp_path, [Table("t", "h", ["name", "n"], [["a", "12"]], ["n"])])
    assert '<td dir="auto" class="number">12</td>' in html
    assert '<td dir="auto">a</td>' in html


def test_equal_inputs_give_equal_pages(tmp_path: Path) -> None:
    first = write(tmp_path / "a", [picture(), Missing("m", "r")])[2]
    second = write(tmp_path / "b", [picture(), Missing("m", "r")])[2]
    assert first == second


def test_two_pictures_of_one_name_are_a_defect(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two pictures are named one"):
        write(tmp_path, [picture(), picture()])


def test_what_was_there_before_a_failure_is_kept(tmp_path: Path) -> None:
    write(tmp_path, [Missing("old", "r")])
    with pytest.raises(ValueError, match="two pictures"):
        write(tmp_path, [picture(), picture()])
    assert "old" in (tmp_path / "report.html").read_text()


def test_items_up_to_the_missing_one_are_kept() -> None:
    def items() -> list[Item]:
        return list(or_missing("Curves", half()))

    def half():  # type: ignore[no-untyped-def]
        yield Missing("first", "r")
        raise UnavailableError("no file")

    assert items() == [Missing("first", "r"), Missing("Curves", "no file")]
