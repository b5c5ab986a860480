"""reports/metrics.json: what it holds, checked when it is written and when it is read.

The file keeps names that are short to compare with `dvc metrics diff`: a track holds its own
model's scores directly (`scratch.wer`) or as `before` and `after`, other systems under `baselines`,
the scores on the validation split in the same places under `valid`, those of its own model on
some training rows under `train` (far better ones mean that it knows them by heart), and the
differences of its model to every other system under `delta` (to `before`) and `against`. Readers
see `Metrics`, in which every system of every track looks alike.

    {"scratch":  {"task", "n", "groups", <scores>, "valid": {<measures>, "baselines"},
                  "train": {"rows", <measures>},
                  "baselines": {name: <scores>}, "against": {name: {measure: <difference>}}},
     "finetune": {"task", "n", "groups", "before": <scores>, "after": <scores>,
                  "valid": {"before", "after", "baselines"}, "train", "baselines", "delta",
                  "against"},
     "method":   {"confidence", "resamples", "interval"}}

<scores> are measures by their keys (base/measures.py), `intervals` and what `NOTES` lists.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from scratchformer.base.errors import DataError
from scratchformer.base.files import read_mapping
from scratchformer.base.layout import METRICS, TRACKS, TrackName
from scratchformer.base.measures import MEASURES

# What may stand beside the scores of a system, and is not a score.
NOTES = {
    "C": "inverse strength of the regularisation, chosen on the validation split",
    "C_at_edge": "the chosen C is the last one that was tried: a further one may be better",
    "temperature": "the logits were divided by it; fitted on the validation split",
    "ece_unscaled": "calibration error before that",
    "prompt": "of the zero-shot classifier, chosen on the validation split",
    "train_rows": "training rows that the system learned from, where it could not take all",
    "bleu_signature": "how sacrebleu counted",
    "chrf_signature": "how sacrebleu counted",
}


@dataclass(frozen=True)
class Difference:
    """How much better or worse one system is than another on the same rows: after - before."""

    value: float
    low: float | None
    high: float | None
    p_value: float  # of the permutation test on the same measure


@dataclass(frozen=True)
class SystemScores:
    """One system of a track. `intervals` hold (low, high) of the measures that have any."""

    name: str
    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    valid: Mapping[str, float]
    notes: Mapping[str, Any]

    def ends(self, measure: str) -> tuple[float | None, float | None]:
        return self.intervals.get(measure, (None, None))


@dataclass(frozen=True)
class TrackScores:
    """All systems of a track: the model that it trains is `own`; the others in the file's order."""

    name: TrackName
    task: str
    rows: int
    groups: int
    systems: Mapping[str, SystemScores]
    differences: Mapping[str, Mapping[str, Difference]]  # own - other system, by measure
    mcnemar: Mapping[str, float] | None  # only where rows are independent
    output: str | None = None  # of sequences: words | sentences
    near_duplicates: Mapping[str, float] = field(default_factory=dict)
    train: Mapping[str, float] = field(default_factory=dict)  # of the own model, on some rows

    @property
    def own(self) -> SystemScores:
        return self.systems[TRACKS[self.name].system]

    @property
    def grouped(self) -> bool:
        """Some rows belong together."""
        return self.groups < self.rows


@dataclass(frozen=True)
class Metrics:
    """All of reports/metrics.json."""

    tracks: Mapping[TrackName, TrackScores]
    confidence: float
    resamples: int

    @property
    def smallest_p(self) -> float:
        """The smallest p-value that the permutation test can give."""
        return 1 / (self.resamples + 1)


def load_metrics(path: Path = METRICS) -> Metrics:
    """Read and check the file.

    Raises:
        DataError: it is missing, was written by another version, or was edited by hand.
    """
    if not path.is_file():
        raise DataError(f"{path}: not found; make it with: dvc repro evaluate")
    values = read_mapping(path, "make it again with: dvc repro evaluate")
    return parse_metrics(values, str(path))


def parse_metrics(values: Any, place: str = str(METRICS)) -> Metrics:
    """Check the content of the file.

    Args:
        place: what messages call it.

    Raises:
        DataError: it is not what this version writes; the first wrong key is named.
    """
    try:
        root = _Node(values, "")
        method = root.child("method")
        tracks = {name: _track(name, root.child(name)) for name in TRACKS if name in root}
        metrics = Metrics(tracks, method.number("confidence"), method.integer("resamples"))
        method.text("interval")
        method.end()
        root.end()
    except _WrongError as error:
        raise DataError(
            f"{place}: {error}; another version wrote it: make it again with: dvc repro evaluate"
        ) from None
    return metrics


class _WrongError(Exception):
    """What was found and what was expected, with the dotted name of the place."""


class _Node:
    """A JSON object with its dotted name. What is read is crossed off; `end` refuses the rest."""

    def __init__(self, values: Any, path: str) -> None:
        if not isinstance(values, dict):
            raise _WrongError(f"{path or 'the whole'}: expected an object, found {values!r:.40}")
        self._left, self._path = dict(values), path

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def names(self) -> list[str]:
        return list(self._left)

    def child(self, key: str) -> "_Node":
        return _Node(self._take(key), self._dotted(key))

    def children(self, key: str) -> "Iterator[tuple[str, _Node]]":
        """The objects below `key`, if it is there."""
        if key in self:
            node = self.child(key)
            yield from ((name, node.child(name)) for name in node.names())

    def number(self, key: str) -> float:
        value = self._take(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise _WrongError(f"{self._dotted(key)}: expected a number, found {value!r:.40}")
        return float(value)

    def integer(self, key: str) -> int:
        value = self.number(key)
        if value != int(value) or value < 0:
            raise _WrongError(f"{self._dotted(key)}: expected a whole number, found {value}")
        return int(value)

    def share(self, key: str) -> float:
        value = self.number(key)
        if not 0 <= value <= 1:
            raise _WrongError(f"{self._dotted(key)}: expected 0 to 1, found {value}")
        return value

    def text(self, key: str) -> str:
        value = self._take(key)
        if not isinstance(value, str):
            raise _WrongError(f"{self._dotted(key)}: expected text, found {value!r:.40}")
        return value

    def numbers(self) -> dict[str, float]:
        """All that is left, which must be numbers."""
        return {key: self.number(key) for key in self.names()}

    def measures(self) -> dict[str, float]:
        """The keys that name measures."""
        return {key: self.number(key) for key in self.names() if key in MEASURES}

    def notes(self) -> dict[str, Any]:
        """The keys that `NOTES` lists."""
        return {key: self._take(key) for key in self.names() if key in NOTES}

    def end(self) -> None:
        """Nothing may be left."""
        if self._left:
            raise _WrongError(f"{self._dotted(next(iter(self._left)))}: unknown")

    def _take(self, key: str) -> Any:
        if key not in self._left:
            raise _WrongError(f"{self._dotted(key)}: missing")
        return self._left.pop(key)

    def _dotted(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key


def _track(name: TrackName, node: _Node) -> TrackScores:
    valid, own = node.child("valid"), TRACKS[name].system
    systems: dict[str, SystemScores] = {}
    for role in () if own == name else ("before", own):
        scores, scores_on_valid = node.child(role), valid.child(role)
        systems[role] = _system(role, scores, scores_on_valid)
        scores.end()
        scores_on_valid.end()
    valid_of = dict(valid.children("baselines"))
    for other, scores in node.children("baselines"):
        systems[other] = _system(other, scores, valid_of.pop(other, None))
        scores.end()
    task, rows, groups = node.text("task"), node.integer("n"), node.integer("groups")
    output = node.text("output") if "output" in node else None
    differences = {
        other: {measure: _difference(each.child(measure)) for measure in each.names()}
        for other, each in node.children("against")
    }
    if "delta" in node:
        delta = node.child("delta")
        differences["before"] = {key: _difference(delta.child(key)) for key in delta.names()}
    mcnemar = node.child("mcnemar").numbers() if "mcnemar" in node else None
    train: dict[str, float] = {}
    if "train" in node:
        on_train = node.child("train")
        on_train.integer("rows")
        train = on_train.measures()
        on_train.end()
    near = node.child("near_duplicates").numbers() if "near_duplicates" in node else {}
    if own == name:
        systems[own] = _system(own, node, valid)
    valid.end()
    node.end()
    if valid_of:
        raise _WrongError(f"{name}.valid.baselines.{next(iter(valid_of))}: no such system")
    return TrackScores(name, task, rows, groups, systems, differences, mcnemar, output, near, train)


def _system(name: str, node: _Node, valid: _Node | None) -> SystemScores:
    intervals = {}
    if "intervals" in node:
        ends = node.child("intervals")
        for measure in ends.names():
            both = ends.child(measure)
            intervals[measure] = (both.number("low"), both.number("high"))
            both.end()
    scores = node.measures()
    if not scores:
        raise _WrongError(f"{node._path}: expected measures such as {', '.join(MEASURES)}")
    if unknown := intervals.keys() - scores.keys():
        raise _WrongError(f"{node._path}.intervals.{min(unknown)}: no such score")
    return SystemScores(name, scores, intervals, valid.measures() if valid else {}, node.notes())


def _difference(node: _Node) -> Difference:
    value, p_value = node.number("value"), node.share("p_value")
    low, high = (node.number(end) if end in node else None for end in ("low", "high"))
    node.end()
    return Difference(value, low, high, p_value)
