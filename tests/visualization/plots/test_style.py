"""One look, equal bytes, and nothing left behind in matplotlib."""

import itertools
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from scratchformer.visualization.plots.style import CYCLE, MARKERS, class_style, save, styled


@styled
def picture() -> Figure:
    figure = Figure(figsize=(3, 2))
    axes = figure.add_subplot(title="costs $5 and $7", xlabel="ʃ")
    axes.plot([0, 1], [1, 0], label="line")
    axes.legend()
    return figure


def test_equal_figures_give_equal_bytes_without_dates(tmp_path: Path) -> None:
    first = [path.read_bytes() for path in save(picture(), tmp_path, "a")[:2]]
    second = [path.read_bytes() for path in save(picture(), tmp_path, "b")[:2]]
    assert first == second
    assert b"<dc:date>" not in first[1]
    assert b"tEXt" not in first[0]  # the chunk that would name the version of matplotlib


def test_a_dollar_sign_is_text() -> None:
    figure = picture()
    figure.canvas.draw()
    assert figure.axes[0].get_title(loc="left") == "costs $5 and $7"
    assert not figure.axes[0].title.get_parse_math()


def test_settings_do_not_leak_and_do_not_depend_on_the_users_own() -> None:
    with matplotlib.rc_context({"font.size": 30.0, "axes.spines.top": True}):
        figure = picture()
        assert matplotlib.rcParams["font.size"] == 30.0
    assert figure.axes[0].xaxis.label.get_fontsize() == 9
    assert not figure.axes[0].spines["top"].get_visible()


def test_classes_have_different_looks() -> None:
    looks = [class_style(index) for index in range(len(CYCLE) * len(MARKERS))]
    assert len(set(looks)) == len(looks) == 56
    assert class_style(56) == class_style(0)


def test_neighbouring_colours_differ_in_lightness_for_those_who_see_no_colour() -> None:
    def lightness(color: str) -> float:
        red, green, blue = (
            (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4)
            for part in matplotlib.colors.to_rgb(color)
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for a, b in itertools.pairwise(CYCLE[:2]):
        assert abs(lightness(a) - lightness(b)) > 0.1
