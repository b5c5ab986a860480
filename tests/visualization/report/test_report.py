"""The page is complete in itself, escapes what it shows, and says what it cannot show."""

import base64
import io
import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from scratchformer.visualization.analysis.inspection.attention import Attention
from scratchformer.visualization.analysis.predictions import UnavailableError
from scratchformer.visualization.plots.style import save
from scratchformer.visualization.report.first_screen import Answer, Check, FirstScreen, Number
from scratchformer.visualization.report.page import write as write_module
from scratchformer.visualization.report.page.atlas import MAX_BYTES, atlas_data
from scratchformer.visualization.report.page.explorer import Look, explorer_data, kept_rows
from scratchformer.visualization.report.page.hover import line_points
from scratchformer.visualization.report.page.items import (
    Atlas,
    AtlasExample,
    Explorer,
    Item,
    Missing,
    Picture,
    Section,
    Table,
    each_or_missing,
    or_missing,
)
from scratchformer.visualization.report.page.write import Contents, write_report

EVIL = "<script>alert('x')</script >\" onload=\"alert(2)</script>"


class Page(HTMLParser):
    """Tags, attributes and text of a page; the text of scripts apart."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.scripts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] == ["script"] and self.cdata_elem:
            self.scripts.append(data)
        else:
            self.text += data


def picture(name: str = "one") -> Picture:
    figure = Figure(figsize=(1, 1))
    figure.add_subplot(title="t")
    return Picture(name, f"Title {EVIL}", f"How {EVIL}", figure)


def atlas(examples: int = 1, size: int = 3) -> Atlas:
    maps = np.full((2, 2, size, size), 1 / size, dtype=np.float32)
    tokens = [EVIL, *(f"t{n}" for n in range(size - 1))]
    attention = Attention(maps, tokens, tokens, "token", "token")
    example = AtlasExample(EVIL, {EVIL: {"before": attention, "after": attention}})
    return Atlas("atlas", EVIL, EVIL, [example] * examples)


def test_a_page_that_would_be_too_large_has_fewer_rows_to_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = explorer(2000)
    monkeypatch.setattr(write_module, "MAX_BYTES", 120_000)
    contents, _, _ = write(tmp_path, [many])
    assert contents.size <= 120_000 and not contents.too_large
    assert 100 <= len(contents.data["explorer"]["text"]) < 2000
    monkeypatch.setattr(write_module, "MAX_BYTES", 1000)
    contents, _, _ = write(tmp_path, [many])
    assert contents.too_large and len(contents.data["explorer"]["text"]) >= 100


def test_rows_link_to_what_else_the_page_has_of_them() -> None:
    table = rows(8)
    some = Explorer("x-explorer", "t", "h", table, ("a", "b"), "m", True)
    shown = table["text"].iloc[7]
    looks = [Look(shown, "x-atlas", "attention", 2), Look("elsewhere", "x-atlas", "attention", 0)]
    data = explorer_data(some, looks, 1)
    (place,) = data["links"]
    assert data["text"][place] == shown and data["links"][place] == [["x-atlas", "attention", 2]]


def rows(count: int = 3) -> pd.DataFrame:
    outcomes = ["fixed", "broken", "still wrong", "still right"]
    return pd.DataFrame(
        {"id": [f"{n:05}" for n in range(count)], "outcome": (outcomes * count)[:count],
         "text": [f"{EVIL} {n}" for n in range(count)], "label": "a", "before": "b", "after": "a",
         "score_before": 0.25, "score_after": 0.75, "gain": np.linspace(0.1, 0.9, count)}
    )  # fmt: skip


def explorer(count: int = 3) -> Explorer:
    return Explorer("explorer", EVIL, EVIL, rows(count), ("old", "new"), "share", labelled=True)


FIRST = FirstScreen(
    f"Report {EVIL}",
    [
        Answer(
            "scratch", "From scratch", EVIL, [Number(EVIL, "1", "[0, 2]", "model")], EVIL, "better"
        )
    ],
    [],
    [Check("good", EVIL)],
    [("fact", EVIL)],
)


def write(folder: Path, items: list[Item]) -> tuple[Contents, Page, str]:
    folder.mkdir(exist_ok=True)
    page = folder / "report.html"
    sections = [Section("key", f"Section {EVIL}", f"Intro {EVIL}", items)]
    contents = write_report(sections, FIRST, folder, page)
    html = page.read_text(encoding="utf-8")
    return contents, Page(html), html


def everything() -> list[Item]:
    table = Table(EVIL, EVIL, ["text", EVIL], [[EVIL, "1"]], [EVIL])
    return [picture(), table, atlas(), explorer(), Missing(EVIL, EVIL)]


def test_markup_in_data_is_inert(tmp_path: Path) -> None:
    _, page, html = write(tmp_path, everything())
    assert page.tags.count("script") == 2  # the data and the program
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.text.count(EVIL) >= 14  # it is all there, as text
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    assert data and "<" not in data[1]
    assert json.loads(data[1])["atlas"]["examples"][0]["title"] == EVIL


def test_nothing_is_fetched_and_nothing_runs_but_the_programs_of_the_page(tmp_path: Path) -> None:
    _, page, html = write(tmp_path, everything())
    sources = [value for name, value in page.attributes if name in ("src", "href")]
    assert sources and all(value.startswith(("data:image/", "#")) for value in sources)
    assert not {"link", "iframe", "object"} & set(page.tags)
    assert "url(" not in html and "@import" not in html
    assert not [name for name, _ in page.attributes if name == "style"]
    (policy,) = (value for _, value in page.attributes if "default-src" in value)
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert re.search(r"script-src 'sha256-[^ ]+';", policy)


def test_the_policy_has_the_hashes_of_what_stands_in_the_page(tmp_path: Path) -> None:
    from scratchformer.visualization.html import csp_hash

    _, page, html = write(tmp_path, [])
    (policy,) = (value for _, value in page.attributes if "default-src" in value)
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.S)
        assert f"{tag}-src {csp_hash(text)}" in policy


def test_the_figure_in_the_page_is_the_saved_one(tmp_path: Path) -> None:
    contents, page, html = write(tmp_path, [picture("curve")])
    assert contents.pictures == ["curve"]
    assert contents.size == len(html.encode())
    source = next(value for name, value in page.attributes if name == "src")
    embedded = Image.open(io.BytesIO(base64.b64decode(source.split(",", 1)[1]))).convert("RGB")
    saved = Image.open(tmp_path / "curve.png").convert("RGB")
    assert embedded.format is None and embedded.tobytes() == saved.tobytes()
    assert f'width="{round(saved.width * 96 / 150)}"' in html
    assert (tmp_path / "curve.svg").stat().st_size > 500


def test_numbers_are_flush_right_and_text_is_not(tmp_path: Path) -> None:
    _, _, html = write(tmp_path, [Table("t", "h", ["name", "n"], [["a", "12"]], ["n"])])
    assert '<td dir="auto" class="number">12</td>' in html
    assert '<td dir="auto">a</td>' in html


def test_equal_inputs_give_equal_pages(tmp_path: Path) -> None:
    first = write(tmp_path / "a", everything())[2]
    second = write(tmp_path / "b", everything())[2]
    assert first == second


def test_two_items_of_one_name_are_a_defect(tmp_path: Path) -> None:
    for twice in ([picture(), picture()], [atlas(), atlas()]):
        with pytest.raises(ValueError, match="two items are named"):
            write(tmp_path, twice)


def test_what_was_there_before_a_failure_is_kept(tmp_path: Path) -> None:
    write(tmp_path, [Missing("old", "r")])
    with pytest.raises(ValueError, match="two items"):
        write(tmp_path, [picture(), picture()])
    assert "old" in (tmp_path / "report.html").read_text()


def test_headings_go_down_one_step_at_a_time_and_pictures_have_words(tmp_path: Path) -> None:
    _, page, html = write(tmp_path, everything())
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all(len(alt) > 10 for name, alt in page.attributes if name == "alt")
    assert '<html lang="en">' in html and "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_items_up_to_the_missing_one_are_kept() -> None:
    def items() -> list[Item]:
        return list(or_missing("Curves", half()))

    def half():  # type: ignore[no-untyped-def]
        yield Missing("first", "r")
        raise UnavailableError("no file")

    assert items() == [Missing("first", "r"), Missing("Curves", "no file")]


def test_a_text_that_cannot_be_shown_takes_no_other_with_it() -> None:
    def show(text: str) -> str:
        if text == "long":
            raise UnavailableError("too long")
        return text.upper()

    assert each_or_missing("Yours", ["a", "long", "b"], show) == (
        ["A", "B"], [Missing("Yours", "too long")],
    )  # fmt: skip


def test_an_atlas_holds_the_weights_to_a_byte_and_the_heads_in_order() -> None:
    draw = np.random.default_rng(0)
    maps = draw.dirichlet(np.ones(4), (2, 3, 4)).astype(np.float32)
    tokens = ["a", "b", "c", "d"]
    attention = Attention(maps, tokens, tokens, "token", "token")
    made = atlas_data(Atlas("n", "t", "h", [AtlasExample("x", {"Encoder": {"after": attention}})]))
    (kind,) = made["examples"][0]["kinds"]
    packed = base64.b64decode(kind["sides"][0]["maps"])
    found = np.frombuffer(packed, np.uint8).reshape(2, 3, 4, 4) / 255
    np.testing.assert_allclose(found, maps, atol=0.5 / 255 + 1e-7)
    assert (kind["layers"], kind["heads"], kind["aligns"]) == (2, 3, False)
    assert sorted(role[:2] for role in kind["roles"]) == [[a, b] for a in (0, 1) for b in range(3)]


def test_an_atlas_leaves_out_what_has_no_room_and_says_so() -> None:
    size = int((MAX_BYTES / 2 / 4 / 2) ** 0.5) - 1  # two such examples fit, three do not
    made = atlas_data(atlas(examples=3, size=size))
    assert len(made["examples"]) == 2
    assert made["left_out"] == [EVIL]


def test_an_explorer_keeps_of_each_outcome_its_share_and_what_moved_most() -> None:
    table = rows(400)
    few = kept_rows(table, 40)
    assert few["outcome"].value_counts().to_dict() == dict.fromkeys(table["outcome"].unique(), 10)
    fixed = table[table["outcome"] == "fixed"].nlargest(10, "gain")
    assert list(few[few["outcome"] == "fixed"]["id"]) == list(fixed["id"])
    assert len(kept_rows(table, 1000)) == 400


def test_the_columns_of_an_explorer_are_those_of_its_rows() -> None:
    made = explorer_data(explorer(4))
    assert made["answers"] == ["a", "b"]
    assert (made["label"], made["before"], made["after"]) == ([0] * 4, [1] * 4, [0] * 4)
    assert made["outcome"] == [0, 1, 2, 3]
    assert made["score_after"] == [0.75] * 4 and made["total"] == 4
    assert made["text"][0] == f"{EVIL} 0"


def test_hover_points_are_where_the_picture_has_them(tmp_path: Path) -> None:
    """The drawn pixel at a point has the colour of the line."""
    figure = Figure(figsize=(4, 3))
    axes = figure.add_subplot(title="t", xlabel="x")
    axes.plot([0, 10], [1, 3], color="#ff0000", linewidth=1, marker="o", markersize=5, label="red")
    axes.set_yticks([])  # the picture begins at the axes, and not at the figure's edge
    axes.axvline(5, color="black")  # a ruler, no curve
    axes.plot([0, 10], [2, 2], color="grey")  # no name
    png, _, box = save(figure, tmp_path, "line")
    ((line,),) = line_points(figure, box)
    assert line["name"] == "red"
    assert [point[2:] for point in line["points"]] == [["0", "1"], ["10", "3"]]
    with Image.open(png) as image:
        for left, top, _, _ in line["points"]:
            place = (round(left * image.width), round(top * image.height))
            assert image.convert("RGB").getpixel(place) == (255, 0, 0)


def test_bars_have_no_hover_points(tmp_path: Path) -> None:
    figure = Figure(figsize=(2, 2))
    axes = figure.add_subplot()
    axes.barh([0], [1])
    axes.plot([0.5, 1.5], [0, 0])
    _, _, box = save(figure, tmp_path, "bar")
    assert line_points(figure, box) == []
