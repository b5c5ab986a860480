"""Sequence-to-sequence systems over the same rows: outputs, and what their measures are sums of.

What is measured depends on what the rows are (`base/output_kind.py`):

| answers are | example | measured |
|---|---|---|
| words | spelling → phonemes | `wer`; `per` (phonemes) or `cer` (characters) |
| sentences | translation | `bleu`, `chrf`; `token_error_rate`, or `cer` without blanks |

and `exact_match` always; for systems that give probabilities also `loss`, `perplexity` and
`token_accuracy` given the right tokens before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scratchformer.base.output_kind import OutputKind, Unit, output_kind, unit_of
from scratchformer.evaluation.measures.edit_distance import nearest_reference
from scratchformer.evaluation.measures.translation import translation_counts
from scratchformer.evaluation.significance.resampling import Column
from scratchformer.evaluation.systems.outputs import SequenceOutput

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("references", pa.list_(pa.string())),
        ("prediction", pa.string()),
        ("score", pa.float64()),
        ("exact", pa.bool_()),
        ("distance", pa.int32()),
        ("reference_length", pa.int32()),
    ]
)

# The sums of the error rate: edits, and units of the nearest references.
_RATES: Mapping[tuple[OutputKind, Unit], tuple[str, str]] = {
    ("words", "blanks"): ("phoneme_edits", "phonemes"),
    ("words", "characters"): ("character_edits", "characters"),
    ("sentences", "blanks"): ("token_edits", "reference_tokens"),
    ("sentences", "characters"): ("character_edits", "characters"),
}


@dataclass(frozen=True)
class SequenceRows:
    """The rows that all systems of a track are scored on; every list has one entry a row.

    Attributes:
        kind: what the answers are.
        unit: what one edit changes.
        lowercase: the target vocabulary has no capitals: compare without them.
    """

    ids: list[str]
    sources: list[str]
    references: list[list[str]]
    groups: list[str]
    kind: OutputKind
    unit: Unit
    lowercase: bool = False

    @classmethod
    def of(cls, split: pa.Table, lowercase: bool = False) -> "SequenceRows":
        """A prepared split; kind and unit are found from its rows."""
        columns = split.to_pydict()
        sources, references = columns["source"], columns["targets"]
        kind, unit = output_kind(sources, references), unit_of(references)
        return cls(columns["id"], sources, references, columns["group"], kind, unit, lowercase)

    @cached_property
    def compared_references(self) -> list[list[str]]:
        """What predictions are compared with."""
        return [[self.compared(text) for text in row] for row in self.references]

    def compared(self, text: str) -> str:
        """What is compared of a text."""
        return text.lower() if self.lowercase else text


def prediction_table(rows: SequenceRows, output: SequenceOutput) -> pa.Table:
    """One row per row of the split, in their order (columns: `SCHEMA`); `score` is null for
    controls."""
    nearest = [
        nearest_reference(rows.compared(prediction), references, rows.unit)
        for prediction, references in zip(output.predictions, rows.compared_references, strict=True)
    ]
    columns = {
        "id": rows.ids,
        "source": rows.sources,
        "references": rows.references,
        "prediction": output.predictions,
        "score": [None] * len(nearest) if output.scores is None else list(output.scores),
        "exact": [distance == 0 for distance, _ in nearest],
        "distance": [distance for distance, _ in nearest],
        "reference_length": [length for _, length in nearest],
    }
    return pa.table(columns, schema=SCHEMA)


def columns_of(
    rows: SequenceRows, output: SequenceOutput, table: pa.Table
) -> tuple[dict[str, Column], dict[str, str]]:
    """What the measures of a system are sums of, and how sacrebleu counted.

    Args:
        table: `prediction_table(rows, output)`.
    """
    exact = exact_rows(table).astype(float)
    edits, units = _RATES[rows.kind, rows.unit]
    columns: dict[str, Column] = {
        "exact": exact,
        edits: table.column("distance").to_numpy(),
        units: table.column("reference_length").to_numpy(),
    }
    signatures: dict[str, str] = {}
    if rows.kind == "words":
        columns["exact_word"] = exact
    else:
        counts = translation_counts(output.predictions, rows.references, rows.lowercase)
        columns |= counts.columns
        signatures = counts.signatures
    if output.losses:
        columns["nll"] = output.losses.nll
        columns["items"] = output.losses.tokens
        columns["token_right"] = output.losses.right
    return columns, signatures


def exact_rows(predictions: pa.Table) -> NDArray[np.bool_]:
    """Whether each row is exactly right, `[rows]`."""
    return np.asarray(predictions.column("exact").to_numpy())
