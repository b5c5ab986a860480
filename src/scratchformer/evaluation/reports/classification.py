"""Scores of classifiers over the same test rows, with intervals and paired tests."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from scratchformer.evaluation.measures.calibration import expected_calibration_error, reliability
from scratchformer.evaluation.significance.bootstrap import (
    Column,
    Floats,
    Resampling,
    Statistic,
    Sums,
    bootstrap,
    bootstrap_difference,
    mcnemar,
    permutation_p_value,
)

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("group", pa.string()),
        ("label", pa.string()),
        ("prediction", pa.string()),
        ("confidence", pa.float32()),
        ("probabilities", pa.list_(pa.float32())),
    ]
)

_LEAST_PROBABILITY = 1e-12  # a label that was ruled out costs 27.6 nats, not infinitely many


@dataclass(frozen=True)
class ClassificationTest:
    """The rows that all systems of a track are scored on; every list has one entry a row."""

    ids: list[str]
    texts: list[str]
    groups: list[str]
    gold: NDArray[np.int64]  # label ids
    labels: list[str]  # names, in the order of their ids

    @classmethod
    def of(cls, split: pa.Table, labels: Sequence[str]) -> "ClassificationTest":
        """A prepared split."""
        columns = split.to_pydict()
        return cls(
            columns["id"],
            columns["text"],
            columns["group"],
            label_ids(columns["label"], labels),
            list(labels),
        )

    @property
    def gold_names(self) -> list[str]:
        return [self.labels[label] for label in self.gold]


def label_ids(names: Sequence[str], labels: Sequence[str]) -> NDArray[np.int64]:
    """Label names as ids, which are places in `labels`."""
    place = {name: index for index, name in enumerate(labels)}
    return np.array([place[name] for name in names], np.int64)


def prediction_table(test: ClassificationTest, probabilities: NDArray[np.float32]) -> pa.Table:
    """One row per test row, in their order (columns: `SCHEMA`)."""
    said = probabilities.argmax(axis=1)
    return pa.table(
        {
            "id": test.ids,
            "text": test.texts,
            "group": test.groups,
            "label": test.gold_names,
            "prediction": [test.labels[label] for label in said],
            "confidence": probabilities.max(axis=1),
            "probabilities": list(probabilities),
        },
        schema=SCHEMA,
    )


def classification_report(
    test: ClassificationTest, probabilities: NDArray[np.float32], resampling: Resampling
) -> dict[str, Any]:
    """`accuracy`, `macro_f1`, `loss` (nats a row), `ece` and, under `intervals`, their intervals.

    The calibration error has no interval: it is not a function of sums, and its bias depends on
    the number of rows.
    """
    import evaluate

    from scratchformer.evaluation.measures.metrics import Accuracy, MacroF1

    said = probabilities.argmax(axis=1)
    scores = evaluate.combine([Accuracy(), MacroF1()]).compute(
        predictions=[test.labels[label] for label in said], references=test.gold_names
    )
    intervals = bootstrap(
        _columns(test, probabilities), _STATISTICS, resampling, shares=("accuracy",)
    )
    bins = reliability(probabilities.max(axis=1), said == test.gold)
    return {
        **scores,
        "loss": intervals["loss"].value,
        "ece": expected_calibration_error(bins),
        "intervals": {name: each.ends() for name, each in intervals.items()},
    }


def classification_difference(
    test: ClassificationTest,
    after: NDArray[np.float32],
    before: NDArray[np.float32],
    resampling: Resampling,
) -> dict[str, Any]:
    """Two systems over the same rows: `delta` (after - before) with paired intervals, `mcnemar`,
    and the p-value of a `permutation` test that keeps groups together."""
    measures = {name: _STATISTICS[name] for name in ("accuracy", "macro_f1")}
    differences = bootstrap_difference(
        _columns(test, after), _columns(test, before), measures, resampling
    )
    right_after = after.argmax(axis=1) == test.gold
    right_before = before.argmax(axis=1) == test.gold
    return {
        "delta": {name: asdict(each) for name, each in differences.items()},
        "mcnemar": mcnemar(right_after, right_before),
        "permutation": {"p_value": permutation_p_value(right_after, right_before, resampling)},
    }


def _columns(test: ClassificationTest, probabilities: NDArray[np.float32]) -> dict[str, Column]:
    """What accuracy, F1 and loss are sums of; `[rows, labels]` ones are sparse."""
    said = probabilities.argmax(axis=1)
    right = (said == test.gold).astype(float)
    rows = np.arange(len(said))
    truth = probabilities[rows, test.gold].astype(float)
    return {
        "right": right,
        "nll": -np.log(np.maximum(truth, _LEAST_PROBABILITY)),
        "said": _one_hot(said, np.ones(len(said)), len(test.labels)),
        "gold": _one_hot(test.gold, np.ones(len(said)), len(test.labels)),
        "both": _one_hot(said, right, len(test.labels)),
    }


def _one_hot(label: NDArray[np.int64], value: Floats, labels: int) -> sparse.csr_array:
    rows = len(label)
    return sparse.csr_array((value, (np.arange(rows), label)), shape=(rows, labels))


def _macro_f1(sums: Sums) -> Floats:
    """F1 of a label is 2·hits / (said + true); the mean is over labels that occur in the draw."""
    return np.asarray(np.nanmean(2 * sums["both"] / (sums["said"] + sums["gold"]), axis=-1))


_STATISTICS: Mapping[str, Statistic] = {
    "accuracy": lambda sums: sums["right"] / sums["rows"],
    "macro_f1": _macro_f1,
    "loss": lambda sums: sums["nll"] / sums["rows"],
}
