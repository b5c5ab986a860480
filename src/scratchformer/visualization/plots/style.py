"""The look of every figure in one place: colours, fonts, sizes, and how a figure becomes a file.

Colours are those of Okabe and Ito (2008, "Color Universal Design"), which stay apart for all
common kinds of colour blindness; ordered values use viridis. Nothing is smaller than 8 pt at the
size a figure has on the page, and no figure is wider than `PAGE_WIDTH` before its labels.

Figures are made without `pyplot`: no global state, nothing to close, no display needed.
"""

from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib
from cycler import cycler
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

BLACK, GREY = "#000000", "#8c8c8c"
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
# Yellow is left out of the cycle: as a thin line or a small dot it is lost on white.
CYCLE = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
TRAIN, VALID = SKY, VERMILLION
BEFORE, AFTER, CONTROL = ORANGE, BLUE, GREY
ORDERED = "viridis"

DPI = 150
PAGE_WIDTH = 9.6  # inches; about 920 CSS pixels
SMALL, NORMAL, TITLE = 8.0, 9.0, 10.5  # points

# The first font that has a character draws it. DejaVu Sans ships with matplotlib and covers Latin,
# Greek, Cyrillic and the phonetic alphabet; the others are used where they are installed.
_FAMILIES = (
    "DejaVu Sans", "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans Arabic",
    "Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Sans Thai", "WenQuanYi Micro Hei",
    "Hiragino Sans", "Microsoft YaHei", "Malgun Gothic", "Nirmala UI", "Arial Unicode MS",
)  # fmt: skip

P = ParamSpec("P")
R = TypeVar("R")


@lru_cache
def families() -> tuple[str, ...]:
    """The families of `_FAMILIES` that are installed; asking for others makes matplotlib warn."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return tuple(family for family in _FAMILIES if family in installed)


def _settings() -> dict[str, Any]:
    return {
        "font.family": list(families()),
        "font.size": NORMAL,
        "axes.titlesize": TITLE,
        "axes.labelsize": NORMAL,
        "xtick.labelsize": SMALL,
        "ytick.labelsize": SMALL,
        "legend.fontsize": SMALL,
        "legend.facecolor": "white",
        "legend.edgecolor": "none",
        "legend.framealpha": 0.85,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#e3e3e3",
        "grid.linewidth": 0.6,
        "lines.linewidth": 1.6,
        "axes.prop_cycle": cycler(color=CYCLE),
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        "text.parse_math": False,  # a "$" in somebody's text is a dollar sign, not a formula
        "svg.fonttype": "path",  # the same picture where these fonts are missing
        "svg.hashsalt": "scratchformer",  # element ids are random without it
    }


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Run a figure function under the project's settings, whatever the user's matplotlibrc says."""

    @wraps(function)
    def under_style(*args: P.args, **kwargs: P.kwargs) -> R:
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(_settings())
            return function(*args, **kwargs)

    return under_style


@styled
def save(figure: Figure, folder: Path, name: str) -> tuple[Path, Path, Bbox]:
    """Write `name`.png (for the report, viewers and DVC) and `name`.svg (for print).

    Equal figures give equal bytes: no date, no version, no random ids. The crop follows the
    contents, so that no label can be cut off.

    Returns:
        Both files, and the part of the figure that they show, in inches.
    """
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    # The layout is found once and drawn twice; "tight" would find it again for each file.
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    box = figure.get_tightbbox().padded(0.12)
    figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None}, bbox_inches=box)
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(svg, format="svg", dpi=DPI, metadata=nothing, bbox_inches=box)
    return png, svg, box


def class_style(index: int) -> tuple[str, str]:
    """Colour and marker of class `index`: 56 pairs that differ, then over again.

    Seven colours and eight markers turn over at different places, so that neighbours differ in
    both and those who confuse two colours still have the marker.
    """
    return CYCLE[index % len(CYCLE)], MARKERS[index % len(MARKERS)]
