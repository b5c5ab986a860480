"""The page of a search: reports/search/NAME.html, one file that asks no network for anything.

It is made from the record alone, while a search runs or after it; trials are read and not changed.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from scratchformer.base.errors import DataError
from scratchformer.base.files import read_json
from scratchformer.base.layout import REPORTS
from scratchformer.base.workspace import workspace_root
from scratchformer.search.report import figures
from scratchformer.search.report.figures import Axis, Point
from scratchformer.search.report.importance import Importance, importances
from scratchformer.search.space import Choices, Range, Space
from scratchformer.search.study import REPORT, folder_of, load_study
from scratchformer.visualization.report.first_screen import Check, FirstScreen
from scratchformer.visualization.report.page.items import Item, Missing, Picture, Section, Table
from scratchformer.visualization.report.page.write import write_report


def page_of(space: Space) -> Path:
    return workspace_root() / REPORTS / "search" / f"{space.name}.html"


def write_page(space: Space) -> Path:
    """Draw everything and write the page.

    Raises:
        DataError: no trial has ended.
    """
    trials = load_study(space).get_trials(deepcopy=False)
    ended = [trial for trial in trials if trial.state.is_finished()]
    if not ended:
        raise DataError(f"search {space.name!r}: no trial has ended yet")
    file = folder_of(space) / REPORT
    results = read_json(file) if file.is_file() else None
    page, pictures = page_of(space), folder_of(space) / "figures"
    for folder in (page.parent, pictures):
        folder.mkdir(parents=True, exist_ok=True)
    write_report(_sections(space, ended, results), _first(space, ended, results), pictures, page)
    return page


def _first(space: Space, ended: Sequence[Any], results: Mapping[str, Any] | None) -> FirstScreen:
    states = Counter(trial.state.name.lower() for trial in ended)
    seconds = sum(
        (trial.datetime_complete - trial.datetime_start).total_seconds() for trial in ended
    )
    again = sum(trial.user_attrs.get("starts", 1) - 1 for trial in ended)
    checks = [Check("good", "The test split was not in the folder of any trial.")]
    if results is None:
        checks.append(Check("bad", "The best were not trained again yet: their values are chosen "
                                   "for luck, too."))  # fmt: skip
    else:
        better = results["settings"][1]["better"]
        checks.append(Check("good" if better else "mind", results["verdict"] + "."))
    facts = [
        ("stage and measure", f"{space.stage}, {space.measure} on the validation split"),
        ("trials", ", ".join(f"{count} {state}" for state, count in sorted(states.items()))),
        ("taken up again after their process died", str(again)),
        ("time of all trials", f"{seconds:,.0f} s, from first to last start of each"),
        ("sampler", f"{space.sampler}, seed {space.seed}, halving {space.halving or 'off'}"),
    ]
    footer = f"Made by scratchformer search from the record in .search/{space.name}."
    return FirstScreen(f"Search {space.name}", [], [], checks, facts, footer)


def _sections(
    space: Space, ended: Sequence[Any], results: Mapping[str, Any] | None
) -> Iterator[Section]:
    points = [_point(trial) for trial in ended]
    axes = [_axis(*each) for each in space.space.items()]
    groups = {name: importances(ended, value) for name, value in _VALUES.items()}
    groups = {name: found for name, found in groups.items() if found}
    if results is not None:
        verdict = f"{results['verdict']}."
        yield Section("confirmed", "Trained again", verdict, _confirmed(space, results))
    yield Section("history", "History", "", [Picture(
        "search-history", "Value of each trial",
        "Circles are trials that were stopped early, with the value that they had: it is not that "
        "of a whole training.",
        figures.history(points, space.measure, space.scored_by.higher_is_better),
    )])  # fmt: skip
    yield Section("keys", "Which keys matter", "", _keys(space, ended, axes, groups))
    rows = [row_of(trial) for trial in ended]
    columns = ("trial", "state", space.measure, "settings", "why")
    yield Section("trials", "All trials", "", [Table(
        "Trials", "The value of one that was stopped is the last that it had.", columns, rows,
        ("trial", space.measure),
    )])  # fmt: skip


def _confirmed(space: Space, results: Mapping[str, Any]) -> list[Item]:
    settings = results["settings"]
    rows = [
        [
            each["name"], "" if each["found"] is None else f"{each['found']:.4g}",
            f"{each['mean']:.4g} [{each['low']:.4g}, {each['high']:.4g}]",
            "" if each["difference"] is None else f"{each['difference']:+.4g} "
            f"[{each['difference_low']:+.4g}, {each['difference_high']:+.4g}]",
            "better" if each["better"] else "" if each["difference"] is None
            else "not shown to be better",
        ]
        for each in settings
    ]  # fmt: skip
    columns = ("setting", "in the search", "fresh seeds", "against params.yaml", "verdict")
    return [
        Picture(
            "search-confirmed", "Optimistic and confirmed values",
            "The best of many noisy values was chosen for its luck, too; what counts is the mean "
            "of trainings with seeds that the search did not use.",
            figures.confirmed(settings, space.measure),
        ),
        Table("Settings", "Differences are paired by seed.", columns, rows, columns[1:4]),
    ]  # fmt: skip


def _keys(
    space: Space, ended: Sequence[Any], axes: Sequence[Axis],
    groups: Mapping[str, Sequence[Importance]],
) -> Iterator[Item]:  # fmt: skip
    points = [_point(trial) for trial in ended]
    if groups:
        yield Picture(
            "search-importances", "Importance of the keys",
            "Share of the variance between trials that a key explains (fANOVA), with a 95 % "
            "interval over drawn trials and forests. Keys under a condition are left out.",
            figures.shares(groups),
        )  # fmt: skip
    else:
        yield Missing("Importance of the keys", "too few trials, or none that differ")
    yield Picture(
        "search-slices", "One key at a time", "Each dot is a trial; the other keys vary too.",
        figures.slices(points, axes, space.measure),
    )  # fmt: skip
    for name, found in list(groups.items())[:1]:
        some = [Point(t.number, t.state.name, _VALUES[name](t), t.params) for t in ended]
        pair = [axis for each in found[:2] for axis in axes if axis.key == each.key]
        if len(pair) == 2:
            yield Picture(
                "search-contour", "The two most important keys",
                f"Dots are trials ({name}); the colours between them are interpolated.",
                figures.contour(some, pair[0], pair[1], space.measure),
            )  # fmt: skip
    done = [point for point in points if point.state == "complete"]
    if done:
        yield Picture(
            "search-parallel", "Whole settings",
            "One line a completed trial; a line ends where a key is not searched in it.",
            figures.parallel(points, axes, space.measure),
        )  # fmt: skip


def _final(trial: Any) -> float | None:
    return cast(float, trial.value) if trial.state.name == "COMPLETE" else None


def _first_validation(trial: Any) -> float | None:
    return cast(float | None, trial.intermediate_values.get(1))


# What of a trial the importances explain. Of those that were stopped, only the first is comparable.
_VALUES: Mapping[str, Callable[[Any], float | None]] = {
    "completed trials, final value": _final,
    "all trials, first validation": _first_validation,
}


def _point(trial: Any) -> Point:
    return Point(trial.number, trial.state.name.lower(), value_of(trial), trial.params)


def value_of(trial: Any) -> float | None:
    """The final value of a trial, or the last that it reported."""
    values: Mapping[int, float] = trial.intermediate_values
    if trial.state.name == "COMPLETE":
        return float(trial.value)
    return values[max(values)] if values else None


def _axis(key: str, values: Choices | Range) -> Axis:
    if isinstance(values, Choices):
        return Axis(key, False, values.choices)
    return Axis(key, values.log, None)


def row_of(trial: Any) -> list[str]:
    """Number, state, value, settings and reason of a trial, as text."""
    value = value_of(trial)
    settings = ", ".join(
        f"{key.rpartition('.')[2]} {setting:.4g}" if isinstance(setting, float)
        else f"{key.rpartition('.')[2]} {setting}"
        for key, setting in trial.params.items()
    )  # fmt: skip
    return [
        str(trial.number), trial.state.name.lower(), "" if value is None else f"{value:.5g}",
        settings, trial.user_attrs.get("reason", ""),
    ]  # fmt: skip
