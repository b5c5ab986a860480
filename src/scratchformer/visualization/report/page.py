"""One HTML page with every figure and table, complete in itself: no network, no JavaScript.

Figures are embedded, so the page can be mailed or opened in MLflow's viewer. Everything that
comes from data passes through jinja2's escaping; a row that holds markup is shown as text.
"""

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from matplotlib.figure import Figure

from scratchformer.base.files import write_whole
from scratchformer.visualization.analysis.predictions import UnavailableError
from scratchformer.visualization.plots.style import save


@dataclass(frozen=True)
class Picture:
    """A figure, the stem of its files, and a sentence on how to read it."""

    name: str
    title: str
    how: str
    figure: Figure


@dataclass(frozen=True)
class Table:
    """Rows of text; columns named in `numbers` are set flush right."""

    title: str
    how: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[str] = ()


@dataclass(frozen=True)
class Missing:
    """What cannot be shown, and why."""

    title: str
    reason: str


Item = Picture | Table | Missing


def or_missing(title: str, items: Iterable[Item]) -> Iterator[Item]:
    """`items` as far as they can be had; then `title` and the reason why there are no more."""
    try:
        yield from items
    except UnavailableError as reason:
        yield Missing(title, str(reason))


@dataclass(frozen=True)
class Section:
    """A part of the report. `items` may be a generator: figures are drawn when they are saved."""

    key: str
    title: str
    intro: str
    items: Iterable[Item]


@dataclass
class Contents:
    """What went into the report."""

    pictures: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)


@dataclass(frozen=True)
class _Embedded:
    """A saved picture, as the template wants it."""

    name: str
    title: str
    how: str
    source: str  # data: URI


def write_report(
    sections: Iterable[Section],
    facts: Sequence[tuple[str, str]],
    figures: Path,
    page: Path,
    title: str,
) -> Contents:
    """Save every figure into the folder `figures` and write the page.

    Args:
        facts: name and value of what all numbers depend on (task, rows, seed, method).

    Raises:
        ValueError: two pictures have the same name.
    """
    contents = Contents()
    parts = []
    for section in sections:
        items: list[_Embedded | Table | Missing] = []
        for item in section.items:
            match item:
                case Picture():
                    if item.name in contents.pictures:
                        raise ValueError(f"two pictures are named {item.name}")
                    contents.pictures.append(item.name)
                    items.append(_embed(item, figures))
                case Table():
                    contents.tables.append(item.title)
                    items.append(item)
                case Missing():
                    contents.missing.append(item)
                    items.append(item)
        parts.append((section, items))
    environment = Environment(
        loader=PackageLoader("scratchformer.visualization.report", "."),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["picture"] = lambda item: isinstance(item, _Embedded)
    environment.tests["table"] = lambda item: isinstance(item, Table)
    template = environment.get_template("page.html.jinja")
    html = template.render(title=title, facts=facts, sections=parts)
    with write_whole(page) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return contents


def _embed(picture: Picture, figures: Path) -> _Embedded:
    """Save a picture and give its vector form as a data URI; a browser runs no script in it."""
    _, svg = save(picture.figure, figures, picture.name)
    code = base64.b64encode(svg.read_bytes()).decode("ascii")
    return _Embedded(
        picture.name, picture.title, picture.how, f"data:image/svg+xml;base64,{code}"
    )
