"""Chapters: what the systems of a track get wrong, and where two of them differ."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain

import pandas as pd

from scratchformer.base.layout import TrackName
from scratchformer.evaluation.measures.calibration import ReliabilityBin
from scratchformer.evaluation.measures.edit_distance import split_units, unit_of
from scratchformer.visualization.analysis.predictions import (
    Names,
    UnavailableError,
    best_control,
    load_predictions,
    load_table,
)
from scratchformer.visualization.analysis.text import shorten
from scratchformer.visualization.plots.calibration import reliability_diagram
from scratchformer.visualization.plots.confusion import confusion_matrix
from scratchformer.visualization.plots.prediction_flips import (
    OUTCOMES,
    change_arrows,
    most_changed,
    sequence_changes,
)
from scratchformer.visualization.plots.sequence_errors import (
    common_edits,
    edits,
    error_by_length,
    rates_by_length,
)
from scratchformer.visualization.plots.subgroup_deltas import effect_lines
from scratchformer.visualization.report.page import (
    Chapter,
    Item,
    Missing,
    Picture,
    Table,
    or_missing,
)

_BY_RULE = (
    "All rows are of the test split. Examples are picked by rule, the largest change first, and "
    "not by hand."
)
_SCRATCH = "Errors of the from-scratch model"


def class_errors(track: TrackName, systems: dict[str, str], names: Names, count: int) -> Chapter:
    """Errors of classifiers; `systems` maps the file stem of predictions to a name on the page.

    With "before" and "after" among the systems, the chapter also shows what changed.
    """
    compared = len(systems) == 2
    return Chapter(
        f"errors-{track}",
        "Errors before and after fine-tuning" if compared else _SCRATCH,
        _BY_RULE,
        chain(
            or_missing("Confusion matrices", _confusions(track, systems, names)),
            or_missing("Effect by class", _effects(track, "class", names)) if compared else (),
            or_missing("Effect by length", _effects(track, "length", names)) if compared else (),
            or_missing("Calibration", _calibration(track, systems)),
            or_missing("Rows that changed", _class_changes(track, names, count))
            if compared
            else (),
            or_missing("Near duplicates", _near_duplicates(track, count)) if compared else (),
        ),
    )


def sequence_errors(track: TrackName, count: int) -> Chapter:
    """Errors of the from-scratch model on sequences, and what it does better than a control."""
    return Chapter(
        f"errors-{track}",
        _SCRATCH,
        _BY_RULE,
        chain(
            or_missing("Errors", _sequences(track, count)),
            or_missing("Compared with a control", _against_control(track, count)),
        ),
    )


def _confusions(track: TrackName, systems: dict[str, str], names: Names) -> Iterator[Item]:
    for role, name in systems.items():
        table = load_predictions(f"{track}-{role}")
        yield Picture(
            f"{track}-confusion-{role}",
            f"Confusion matrix: {name}",
            "Rows are true classes (test rows in brackets), columns are answers, cells are "
            "percent of the row. A bright diagonal is right; a bright cell off it is a pair of "
            "classes that are taken for each other; a bright column is a favourite answer.",
            confusion_matrix(
                names.show(table["label"]), names.show(table["prediction"]), names.all_shown,
                f"{name}, {len(table):,} test rows",
            ),
        )  # fmt: skip


def _effects(track: TrackName, kind: str, names: Names) -> Iterator[Item]:
    effect = load_table(f"{track}-effect-by-{kind}", ["kind"])
    if kind == "class":
        effect["kind"] = names.show(effect["kind"])
        effect = effect.sort_values(["difference", "kind"], ascending=[False, True])
    yield Picture(
        f"{track}-effect-by-{kind}",
        f"Effect of fine-tuning by {kind}",
        "Share of right rows before and after for each kind of row, and the paired difference "
        "with its interval; bold where the interval leaves out zero. With many kinds, one in "
        "twenty would do so by chance.",
        effect_lines(
            effect,
            f"Share of right rows by {kind}, {effect['rows'].sum():,} test rows",
            "share of right rows",
        ),
    )


def _calibration(track: TrackName, systems: dict[str, str]) -> Iterator[Item]:
    table = load_table(f"{track}-calibration", ["system"])
    curves = {
        name: [
            ReliabilityBin(row["low"], row["high"], row["rows"], row["confidence"], row["accuracy"])
            for row in table[table["system"] == role].to_dict("records")
        ]
        for role, name in systems.items()
    }
    rows = sum(each.rows for each in next(iter(curves.values())))
    yield Picture(
        f"{track}-calibration",
        "Calibration",
        "Rows are grouped by the confidence of the answer. On the dotted line, answers given with "
        "80% confidence are right in 80% of the cases; below it a system is too sure of itself. "
        "ECE, the expected calibration error, is the mean distance to that line over rows.",
        reliability_diagram(curves, f"Calibration, {rows:,} test rows"),
    )


def _class_changes(track: TrackName, names: Names, count: int) -> Iterator[Item]:
    changes = load_table(f"{track}-changes", ["id", "outcome", "text", "label", "before", "after"])
    for column in ("label", "before", "after"):
        changes[column] = names.show(changes[column])
    changes = changes.rename(columns=lambda name: name.replace("probability_", "score_"))
    yield from _changed(track, changes, "probability of the true class", ("before", "after"), count)


def _near_duplicates(track: TrackName, count: int) -> Iterator[Item]:
    table = load_table(f"{track}-near-duplicates", ["id", "text", "train_text"])
    yield Table(
        "Test rows that nearly stand in training",
        f"{len(table):,} test rows are almost, though not exactly, a training row; these are the "
        "nearest. The results without them are in reports/metrics.json.",
        ["test row", "training row", "similarity"],
        [
            [_cut(row["text"]), _cut(row["train_text"]), f"{row['similarity']:.2f}"]
            for row in table.head(count).to_dict("records")
        ],
        ["similarity"],
    )


def _sequences(track: TrackName, count: int) -> Iterator[Item]:
    predictions = load_predictions(f"{track}-model")
    n = f"{len(predictions):,} test rows"
    yield Picture(
        f"{track}-error-by-length",
        "Errors by length",
        "Longer outputs have more places to go wrong, so the share of imperfect rows rises; a "
        "rise of the share of edited tokens means that the model loses its place.",
        error_by_length(rates_by_length(predictions), f"Errors by reference length, {n}"),
    )
    references = predictions["references"].map(list).tolist()
    unit = unit_of(references)
    counts: Counter[tuple[str, str]] = Counter()
    wrong = predictions[~predictions["exact"]]
    for prediction, row in zip(wrong["prediction"], wrong["references"], strict=True):
        counts.update(
            edits(split_units(prediction, unit), [split_units(each, unit) for each in row])
        )
    if not counts:
        raise UnavailableError("Every test row is right.")
    yield Picture(
        f"{track}-edits",
        "Most frequent edits",
        "Reference token → what was written instead; ∅ on the right is a token left out, on the "
        "left one too many. Pairs that sound or look alike are the expected ones.",
        common_edits(counts, f"Edits to the nearest reference: {counts.total():,} in {n}"),
    )
    worst = wrong.assign(share=wrong["distance"] / wrong["reference_length"].clip(lower=1))
    worst = worst.sort_values(["share", "id"], ascending=[False, True]).head(count)
    yield Table(
        "Worst rows",
        "The rows with the most edits per reference token.",
        ["source", "written", "references", "edits"],
        [
            [_cut(row["source"]), _cut(row["prediction"]), _cut(" | ".join(row["references"])),
             f"{row['distance']} of {row['reference_length']}"]
            for row in worst.to_dict("records")
        ],
        ["edits"],
    )  # fmt: skip


def _against_control(track: TrackName, count: int) -> Iterator[Item]:
    control = best_control(track)
    if control is None:
        raise UnavailableError("There are no predictions of a control.")
    changes = sequence_changes(load_predictions(control), load_predictions(f"{track}-model"))
    sides = (control.removeprefix(f"{track}-").replace("_", " "), "from scratch")
    yield from _changed(track, changes, "share of right tokens", sides, count)


def _changed(
    track: TrackName, changes: pd.DataFrame, measure: str, sides: tuple[str, str], count: int
) -> Iterator[Item]:
    """The four outcomes in numbers, a figure and two tables of what moved most."""
    first, second = sides
    totals = [int((changes["outcome"] == outcome).sum()) for outcome in OUTCOMES]
    meaning = (
        f"right only in: {second}", f"right only in: {first}", "right in both", "wrong in both",
    )  # fmt: skip
    yield Table(
        f"Rows that changed: {first} → {second}",
        "McNemar's test looks at the first two lines only: if the systems were equally good, both "
        "would be about equally frequent.",
        ["outcome", "meaning", "rows", "share"],
        [
            [outcome, text, f"{rows:,}", f"{rows / len(changes):.1%}"]
            for outcome, text, rows in zip(OUTCOMES, meaning, totals, strict=True)
        ],
        ["rows", "share"],
    )
    improved = most_changed(changes, "fixed", count)
    regressed = most_changed(changes, "broken", count)
    if len(improved) + len(regressed):
        heading = f"{first} → {second}, {len(changes):,} test rows"
        yield Picture(
            f"{track}-changes",
            "Most improved and most regressed rows",
            f"Each arrow is one test row, from {first} to {second}, with its true answer in "
            "brackets. Above: wrong before and right after; below: the other way round.",
            change_arrows(improved, regressed, heading, measure, sides),
        )
    for title, rows in (("Most improved rows", improved), ("Most regressed rows", regressed)):
        if rows.empty:
            yield Missing(title, "No row changed in this direction.")
            continue
        numbers = [f"{first}, score", f"{second}, score"]
        yield Table(
            title,
            f"The answers of both systems; the scores are the {measure}.",
            ["text", "true", first, second, *numbers],
            [
                [*(_cut(row[key]) for key in ("text", "label", "before", "after")),
                 f"{row['score_before']:.2f}", f"{row['score_after']:.2f}"]
                for row in rows.to_dict("records")
            ],
            numbers,
        )  # fmt: skip


def _cut(value: object) -> str:
    return shorten(str(value), 300)
