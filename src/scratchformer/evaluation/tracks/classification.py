"""Classifiers of a track on the test split: its model, what it is compared with, and controls."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scratchformer.base.layout import TRACKS, TrackName
from scratchformer.base.phases import phase
from scratchformer.data.preparation.prepared import Info, load_split
from scratchformer.data.tokenized.read import open_split
from scratchformer.evaluation.controls.left_out import CannotFitError
from scratchformer.evaluation.controls.linear import (
    Fitted,
    label_shares,
    regression,
    tfidf_regression,
)
from scratchformer.evaluation.controls.sampling import Drawn, draw_texts
from scratchformer.evaluation.measures.temperature import rescale
from scratchformer.evaluation.reports.classification import (
    LabelledRows,
    Probabilities,
    columns_of,
    prediction_table,
)
from scratchformer.evaluation.reports.scores import Scored
from scratchformer.evaluation.tracks.class_models import (
    Classified,
    Embedded,
    ModelRuns,
    Splits,
    run_models,
)
from scratchformer.evaluation.tracks.class_tables import (
    calibration_table,
    change_tables,
    coverage_tables,
)
from scratchformer.evaluation.tracks.report import (
    Settings,
    TrackReport,
    prediction_file,
    track_metrics,
)
from scratchformer.record.calibration import Calibration, identity
from scratchformer.record.systems import SYSTEMS


@dataclass(frozen=True)
class _Track:
    """The rows of a track, and the warnings of its evaluation, which grow as it goes on."""

    name: TrackName
    info: Info
    settings: Settings
    valid: LabelledRows
    test: LabelledRows
    warnings: list[str] = field(default_factory=list)

    def train(self) -> LabelledRows:
        """All of them."""
        return LabelledRows.of(load_split(self.name, "train"), self.test.labels)

    def took_some(self, system: str, drawn: Drawn) -> dict[str, int]:
        """The note of a system that learned from some rows only, and its warning."""
        if drawn.all:
            return {}
        self.warnings.append(f"{self.name}: {SYSTEMS[system].title} learned from {drawn}")
        return {"train_rows": len(drawn.rows)}

    def regressed(self, system: str, fitted: Fitted, drawn: Drawn) -> Classified:
        """What a regression says, with the C that was chosen for it."""
        notes: dict[str, Any] = {"C": fitted.C, **self.took_some(system, drawn)}
        if fitted.at_edge:
            notes["C_at_edge"] = True
            self.warnings.append(
                f"{self.name}: {SYSTEMS[system].title} was still getting better at C = "
                f"{fitted.C:g}, the last one that was tried"
            )
        return Classified(fitted.valid, fitted.test, notes)


def evaluate_classification(
    track: TrackName, info: Info, settings: Settings
) -> Callable[[], TrackReport]:
    """Run the models of the track; returns what scores them, and everything that the own one is
    compared with, on the same rows."""
    splits = Splits.of(track, info, settings.seed)
    runs = run_models(track, splits, settings)
    rows = _Track(track, info, settings, splits.valid, splits.test)
    return lambda: _report(rows, runs, splits.train)


def _report(rows: _Track, runs: ModelRuns, train: LabelledRows) -> TrackReport:
    """
    Args:
        train: the rows of `runs.on_train`.
    """
    track, valid, test = rows.name, rows.valid, rows.test
    with phase("controls"):
        made = {**runs.frozen, **_probe(rows, runs.embedded), **runs.trained, **_controls(rows)}
    systems = {name: each.scaled(valid, test) for name, each in made.items()}
    scored = {
        name: Scored(columns_of(test, each.test), columns_of(valid, each.valid), each.notes)
        for name, each in systems.items()
    }
    probabilities = {name: each.test for name, each in systems.items()}
    tables, facts = _TABLES[track](rows, probabilities)
    own = TRACKS[track].system
    tables |= coverage_tables((valid, systems[own].valid), (test, systems[own].test))
    folder = TRACKS[track].model
    calibration = Calibration(
        identity(folder),
        systems[own].notes["temperature"],
        tuple(test.labels),
        tuple(label.description for label in rows.info.labels),
    )
    return TrackReport(
        track_metrics(
            track,
            scored,
            test.groups,
            rows.settings.resampling,
            columns_of(train, rescale(runs.on_train, calibration.temperature)),
            {"task": rows.info.task, **facts},
        ),
        {
            prediction_file(track, name): prediction_table(test, said)
            for name, said in probabilities.items()
        },
        tables,
        rows.warnings,
        calibration,
    )


def _probe(rows: _Track, embedded: Embedded | None) -> dict[str, Classified]:
    """A linear probe on the vectors of the pretrained encoder, where there are some."""
    if embedded is None:
        return {}

    def probe() -> Classified:
        labels = open_split("finetune", "train").column("label").to_numpy()
        fitted = regression(
            (embedded.train, labels[embedded.drawn.rows].astype(np.int64)),
            (embedded.valid, rows.valid.gold),
            embedded.test,
            len(rows.info.labels),
        )
        return rows.regressed("probe", fitted, embedded.drawn)

    return _those_that_fit(rows, {"probe": probe})


def _controls(rows: _Track) -> dict[str, Classified]:
    """Majority class, and TF-IDF with logistic regression."""
    train = rows.train()
    count = len(train.labels)

    def majority() -> Classified:
        valid, test = (
            label_shares(train.gold, len(each.ids), count) for each in (rows.valid, rows.test)
        )
        return Classified(valid, test)

    def tfidf() -> Classified:
        drawn = draw_texts(train.joined, rows.settings.seed)
        fitted = tfidf_regression(
            ([train.joined[row] for row in drawn.rows], train.gold[drawn.rows]),
            (rows.valid.joined, rows.valid.gold),
            rows.test.joined,
            count,
        )
        return rows.regressed("tfidf", fitted, drawn)

    return _those_that_fit(rows, {"majority": majority, "tfidf": tfidf})


def _those_that_fit(
    rows: _Track, controls: Mapping[str, Callable[[], Classified]]
) -> dict[str, Classified]:
    """The controls that can be had from these rows; a warning for each other one."""
    made = {}
    for name, make in controls.items():
        try:
            made[name] = make()
        except CannotFitError as reason:
            rows.warnings.append(f"{rows.name}: {SYSTEMS[name].title} is left out: {reason}")
    return made


def _scratch_tables(
    rows: _Track, systems: Mapping[str, Probabilities]
) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"calibration": calibration_table(rows.test, {"model": systems["scratch"]})}, {}


def _pretrained_tables(
    rows: _Track, systems: Mapping[str, Probabilities]
) -> tuple[dict[str, Any], dict[str, Any]]:
    train = rows.train()
    drawn = draw_texts(train.joined, rows.settings.seed)
    if not drawn.all:
        rows.warnings.append(f"{rows.name}: near duplicates were looked for among {drawn}")
    texts = [train.joined[row] for row in drawn.rows]
    pair = {name: systems[name] for name in ("before", "after")}
    return change_tables(rows.test, pair, texts, rows.settings.resampling)


_TABLES: Mapping[
    TrackName,
    Callable[[_Track, Mapping[str, Probabilities]], tuple[dict[str, Any], dict[str, Any]]],
] = {"scratch": _scratch_tables, "finetune": _pretrained_tables}
