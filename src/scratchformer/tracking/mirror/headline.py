"""The few figures of an execution that people compare, and the page that describes it.

Names sort as they are read: `test/…`, `train/…`, `valid/…`, `work/…`. The own model of a track has
the plain name (`valid/scratch.wer`), what it is compared with has the name of the system behind it
(`test/finetune.accuracy.before`). Everything else is in `metrics.json` of the run, and on the runs
of the stages.
"""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scratchformer.base.files import read_json
from scratchformer.base.layout import FIGURES, TRACKS, Track, TrackName
from scratchformer.base.measures import MEASURES, shown
from scratchformer.record.metrics import Metrics, SystemScores, TrackScores
from scratchformer.record.systems import SYSTEMS, in_reading_order

Find = Callable[[Path], Path | None]  # where the content of a path of the pipeline lies

MAIN_MEASURES = 2  # of a track's own model on each split; the first of them for other systems
MAX_FIGURES = 25  # figures of an execution: with more, nobody finds those that matter


@dataclass(frozen=True)
class Figure:
    """One number of an execution.

    Attributes:
        track: whose own model it is a score of; None for other numbers.
        split: that the model was scored on.
    """

    name: str
    value: float
    track: TrackName | None = None
    split: str | None = None


def headline(metrics: Metrics, find: Find) -> list[Figure]:
    """The figures of an evaluated execution, sorted by name: MLflow's page keeps their order."""
    trainings = (figure for track in TRACKS.values() for figure in _training(track, find))
    return sorted((*_scores(metrics), *trainings), key=lambda each: each.name)[:MAX_FIGURES]


def _scores(metrics: Metrics) -> Iterator[Figure]:
    """Those of every track, on the test and on the validation split."""
    for track in metrics.tracks.values():
        own, main = track.own, _main_measures(track)
        for split, of_split in (("test", own.scores), ("valid", own.valid)):
            for key in main:
                if key in of_split:
                    yield Figure(f"{split}/{track.name}.{key}", of_split[key], track.name, split)
        if main[0] in track.train:
            yield Figure(f"train/{track.name}.{main[0]}", track.train[main[0]])
        if "ece" in own.scores:
            yield Figure(f"test/{track.name}.ece", own.scores["ece"], track.name, "test")
        for other in _compared(track, main[0]):
            for split, of_split in (("test", other.scores), ("valid", other.valid)):
                if main[0] in of_split:
                    name = f"{split}/{track.name}.{main[0]}.{other.name}"
                    yield Figure(name, of_split[main[0]])


def _training(track: Track, find: Find) -> Iterator[Figure]:
    """How a training went: its updates, and the validation loss, the best and the last one."""
    report, history = find(track.model / "training.json"), find(track.history / "valid.csv")
    if report is None or not report.is_file():
        return
    recorded: dict[str, Any] = read_json(report)
    for name, key in (
        (f"valid/{track.name}.loss.best", "best_valid_loss"),
        (f"work/{track.name}.updates", "steps"),
        (f"work/{track.name}.updates.best", "best_step"),
    ):
        if key in recorded:
            yield Figure(name, float(recorded[key]))
    if history is not None and history.is_file():
        with history.open(encoding="utf-8", newline="") as file:
            losses = [row["loss"] for row in csv.DictReader(file) if row.get("loss")]
        if losses:
            yield Figure(f"valid/{track.name}.loss.last", float(losses[-1]))


def columns(names: "set[str]") -> list[str]:
    """The figures among `names` that a list of runs shows: of the own models, validation first,
    because choosing by the test split would spoil it."""
    own = [
        f"{split}/{track}.{key}"
        for split in ("valid", "test")
        for track in TRACKS
        for key in MEASURES
    ]
    return [name for name in own if name in names and not name.endswith((".loss", ".ece"))]


def description(metrics: Metrics | None, run_id: str, pictures: bool) -> str:
    """The page of a pipeline run in Markdown.

    Args:
        run_id: whose artifacts `figures/NAME.png` are shown.
        pictures: they are there.
    """
    parts = [_table(track) for track in metrics.tracks.values()] if metrics else []
    if pictures:
        parts += [
            f"![{name}](get-artifact?path={FIGURES.name}%2F{name}.png&run_uuid={run_id})"
            for name in (f"{track}-scores" for track in TRACKS)
        ]
    return "\n\n".join([*parts, _NOTE])


_NOTE = (
    "One execution of the pipeline; the stages that it ran are its child runs, with their curves. "
    "Intervals, controls and tests are in `metrics.json`, pictures in `report.html`, both among "
    "the artifacts. Choose by `valid/…`: who chooses by `test/…` has no test left. A tag "
    "`scratchformer.results.STAGE` says whether a result was made here (`ran`) or was up to date "
    "(`reused`); `dvc.out.PATH` is the hash of an output as dvc.lock has it."
)


def _main_measures(track: TrackScores) -> list[str]:
    return [measure.key for measure in shown(track.own.scores)][:MAIN_MEASURES]


def _compared(track: TrackScores, measure: str) -> list[SystemScores]:
    """The model before its training, and the strongest control."""
    controls = [
        each
        for each in track.systems.values()
        if SYSTEMS[each.name].control and measure in each.scores
    ]
    higher = MEASURES[measure].higher_is_better
    controls.sort(key=lambda each: each.scores[measure], reverse=higher)
    before = [track.systems["before"]] if "before" in track.systems else []
    return [*before, *controls[:1]]


def _table(track: TrackScores) -> str:
    """The systems of a track, with the intervals of their scores on the test split."""
    measures = [MEASURES[key] for key in _main_measures(track)]
    head = [f"{split} {each.title}" for each in measures for split in ("test:", "validation:")]
    lines = [
        f"### {TRACKS[track.name].title}: {track.rows:,} test rows",
        "",
        f"| system | {' | '.join(head)} |",
        "|---|" + "---|" * len(head),
    ]
    for system in in_reading_order(track):
        cells = []
        for each in measures:
            has, of_valid = each.key in system.scores, each.key in system.valid
            ends = system.ends(each.key)
            cells.append(each.text_with_ends(system.scores[each.key], *ends) if has else "")
            cells.append(each.text(system.valid[each.key]) if of_valid else "")
        title = SYSTEMS[system.name].title
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)
