"""Classifiers over the same rows: what is right, and what their measures are sums of."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from scratchformer.base.statistics import Floats
from scratchformer.evaluation.measures.calibration import BINS, bin_of
from scratchformer.evaluation.significance.resampling import Column

Probabilities = NDArray[np.float32]  # [rows, labels]
Ids = NDArray[np.int64]

# Rows that are pairs have a column `text_pair` behind `text` as well.
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
class LabelledRows:
    """The rows of a split that all systems of a track are scored on; one entry a row."""

    ids: list[str]
    texts: list[str]
    groups: list[str]
    gold: Ids  # label ids
    labels: list[str]  # names, in the order of their ids
    second_texts: list[str] | None = None  # of pairs

    @classmethod
    def of(cls, split: pa.Table, labels: Sequence[str]) -> "LabelledRows":
        """A prepared split."""
        columns = split.to_pydict()
        return cls(
            columns["id"],
            columns["text"],
            columns["group"],
            label_ids(columns["label"], labels),
            list(labels),
            None if None in columns["text_pair"] else columns["text_pair"],
        )

    @cached_property
    def joined(self) -> list[str]:
        """The texts of each row as one: for bags of words and lengths, never for models."""
        if self.second_texts is None:
            return self.texts
        pairs = zip(self.texts, self.second_texts, strict=True)
        return [f"{first} / {second}" for first, second in pairs]

    def written(self, row: int) -> dict[str, str]:
        """The texts of a row as the tables have them."""
        if self.second_texts is None:
            return {"text": self.texts[row]}
        return {"text": self.texts[row], "text_pair": self.second_texts[row]}

    def right(self, probabilities: Probabilities) -> NDArray[np.bool_]:
        """Whether the likeliest label is the right one, `[rows]`."""
        return np.asarray(probabilities.argmax(axis=1) == self.gold)


def label_ids(names: Sequence[str], labels: Sequence[str]) -> Ids:
    """Label names as ids, which are places in `labels`."""
    place = {name: index for index, name in enumerate(labels)}
    return np.array([place[name] for name in names], np.int64)


def prediction_table(rows: LabelledRows, probabilities: Probabilities) -> pa.Table:
    """One row per row of the split, in their order (columns: `SCHEMA`)."""
    predicted = probabilities.argmax(axis=1)
    schema, second = SCHEMA, {}
    if rows.second_texts is not None:
        schema = SCHEMA.insert(2, pa.field("text_pair", pa.string()))
        second = {"text_pair": rows.second_texts}
    return pa.table(
        {
            "id": rows.ids,
            "text": rows.texts,
            **second,
            "group": rows.groups,
            "label": [rows.labels[label] for label in rows.gold],
            "prediction": [rows.labels[label] for label in predicted],
            "confidence": probabilities.max(axis=1),
            "probabilities": list(probabilities),
        },
        schema=schema,
    )


def columns_of(rows: LabelledRows, probabilities: Probabilities) -> dict[str, Column]:
    """What accuracy, macro-F1, loss and calibration error are sums of.

    The columns `[rows, labels]` and `[rows, bins]` are sparse: one number a row.
    """
    count, labels = len(rows.ids), len(rows.labels)
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    right = (predicted == rows.gold).astype(float)
    truth = probabilities[np.arange(count), rows.gold].astype(float)
    bins = bin_of(confidence)
    return {
        "right": right,
        "nll": -np.log(np.maximum(truth, _LEAST_PROBABILITY)),
        "items": np.ones(count),
        "predicted": _placed(predicted, np.ones(count), labels),
        "gold": _placed(rows.gold, np.ones(count), labels),
        "hits": _placed(predicted, right, labels),
        "claimed": _placed(bins, confidence.astype(float), BINS),
        "claimed_right": _placed(bins, right, BINS),
    }


def _placed(column: NDArray[Any], value: Floats, width: int) -> sparse.csr_array:
    """`value` of each row in the column that the row names, zeros elsewhere."""
    rows = len(column)
    return sparse.csr_array((value, (np.arange(rows), column)), shape=(rows, width))
