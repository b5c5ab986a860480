"""One HTML page with everything in it: no request to any network, all readable without JavaScript.

The page can be mailed or opened in MLflow's viewer. Everything that comes from data passes through
jinja2's escaping or stands in JSON that cannot end its element; of scripts and styles only those
of this folder run (their hashes are in the Content-Security-Policy).
"""

import base64
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from scratchformer.base.files import write_whole
from scratchformer.base.phases import phase
from scratchformer.visualization.html import csp_hash, environment, inert_json, read_files
from scratchformer.visualization.plots.style import DPI, save
from scratchformer.visualization.report.first_screen import FirstScreen
from scratchformer.visualization.report.page.atlas import atlas_data
from scratchformer.visualization.report.page.explorer import MAX_ROWS, Look, explorer_data
from scratchformer.visualization.report.page.hover import line_points
from scratchformer.visualization.report.page.items import (
    Atlas,
    Explorer,
    Missing,
    Picture,
    Section,
    Table,
)

SCRIPTS = ("hover.js", "atlas.js", "explorer.js", "start.js")
_CSS_DPI = 96
MAX_BYTES = 3_000_000
"""Of the page: it is mailed and opened on telephones. Explorers give way first."""
_LEAST_ROWS = 100  # of an explorer


@dataclass
class Contents:
    """What went into the report."""

    pictures: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)  # by the name of an item, for the program
    explorers: list[Explorer] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)  # what shows more of single rows
    size: int = 0  # bytes of the page

    @property
    def too_large(self) -> bool:
        return self.size > MAX_BYTES

    def fill_explorers(self, most: int) -> None:
        """Give the explorers at most `most` rows, with links to what else the page has of them."""
        for each in self.explorers:
            track = each.name.partition("-")[0]
            looks = [look for look in self.looks if look.name.startswith(f"{track}-")]
            self.data[each.name] = explorer_data(each, looks, most)


@dataclass(frozen=True)
class _Shown:
    """An item as the template wants it."""

    kind: str  # picture | table | atlas | explorer | missing
    item: Any
    source: str = ""  # of a picture: its data: URI
    width: int = 0  # CSS pixels
    height: int = 0


def write_report(
    sections: Iterable[Section], first: FirstScreen, figures: Path, page: Path
) -> Contents:
    """Save every figure into the folder `figures` and write the page.

    Args:
        first: what stands above all sections.

    Raises:
        ValueError: two items have the same name.
    """
    contents = Contents()
    top = [_picture(each, contents, figures) for each in first.pictures]
    parts = [
        (section, list(_shown(section, contents, figures))) for section in sections
    ]
    script, style = read_files(__package__, *SCRIPTS), read_files(__package__, "page.css")
    template, most = environment(__package__).get_template("page.html.jinja"), MAX_ROWS
    while True:
        contents.fill_explorers(most)
        html = template.render(
            first=first,
            top=top,
            sections=parts,
            script=script,
            style=style,
            script_hash=csp_hash(script),
            style_hash=csp_hash(style),
            data=inert_json(contents.data),
        )
        if len(html.encode()) <= MAX_BYTES or most <= _LEAST_ROWS or not contents.explorers:
            break
        most = max(_LEAST_ROWS, most // 2)
    with write_whole(page) as temporary:
        temporary.write_text(html, encoding="utf-8")
    contents.size = page.stat().st_size
    return contents


def _shown(section: Section, contents: Contents, figures: Path) -> Iterator[_Shown]:
    for item in section.items:
        match item:
            case Picture():
                yield _picture(item, contents, figures)
            case Table():
                contents.tables.append(item.title)
                yield _Shown("table", item)
            case Atlas():
                contents.data[_new(item.name, contents)] = atlas_data(item)
                contents.looks += [
                    Look(example["row"], item.name, "attention", place)
                    for place, example in enumerate(contents.data[item.name]["examples"])
                    if example["row"] is not None
                ]
                yield _Shown("atlas", item)
            case Explorer():
                contents.data[_new(item.name, contents)] = None  # when all looks are known
                contents.explorers.append(item)
                yield _Shown("explorer", item)
            case Missing():
                contents.missing.append(item)
                yield _Shown("missing", item)


@phase("drawing pictures")
def _picture(picture: Picture, contents: Contents, figures: Path) -> _Shown:
    """Save a picture, and embed it: WebP without loss takes a third of the bytes of PNG or SVG."""
    contents.pictures.append(_new(picture.name, contents))
    if picture.row is not None:
        contents.looks.append(Look(picture.row, picture.name, "attribution"))
    png, _, box = save(picture.figure, figures, picture.name)
    points = line_points(picture.figure, box)
    if points:
        contents.data[picture.name] = points
    with Image.open(png) as image:
        small = io.BytesIO()
        image.convert("RGB").save(small, "webp", lossless=True, method=4)
        width, height = (round(side * _CSS_DPI / DPI) for side in image.size)
    code = base64.b64encode(small.getvalue()).decode("ascii")
    return _Shown("picture", picture, f"data:image/webp;base64,{code}", width, height)


def _new(name: str, contents: Contents) -> str:
    if name in contents.pictures or name in contents.data:
        raise ValueError(f"two items are named {name}")
    return name
