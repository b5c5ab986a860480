"""Scores of sequence-to-sequence systems over the same test rows, with intervals.

What is reported depends on what the rows are, which the test rows themselves tell:

| sources are | example | reported |
|---|---|---|
| single words | spelling → phonemes | `wer`; `per` (phonemes) or `cer` (characters) |
| sentences | translation | `token_error_rate`, `bleu`, `chrf` with sacrebleu's signatures |

and `exact_match` always; for systems that give probabilities also `loss`, `perplexity` and
`token_accuracy` given the right tokens before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from scratchformer.evaluation.measures.edit_distance import Unit, nearest_reference, unit_of
from scratchformer.evaluation.significance.bootstrap import (
    Resampling,
    Statistic,
    bootstrap,
    bootstrap_difference,
)
from scratchformer.evaluation.systems.scoring import TokenLosses

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


@dataclass(frozen=True)
class SequenceTest:
    """The rows that all systems of a track are scored on; every list has one entry a row."""

    ids: list[str]
    sources: list[str]
    references: list[list[str]]
    groups: list[str]
    lowercase: bool = False  # the target vocabulary has no capitals: compare without them

    @classmethod
    def of(cls, split: pa.Table, lowercase: bool = False) -> "SequenceTest":
        """A prepared split."""
        columns = split.to_pydict()
        return cls(
            columns["id"], columns["source"], columns["targets"], columns["group"], lowercase
        )

    @cached_property
    def unit(self) -> Unit:
        return unit_of(self.references)

    @cached_property
    def single_words(self) -> bool:
        """Most sources hold no blank."""
        return 2 * sum(" " in source.strip() for source in self.sources) < len(self.sources)

    @property
    def headline(self) -> str:
        """The measure that is read first."""
        return "wer" if self.single_words else "token_error_rate"

    def comparable(self, text: str) -> str:
        """What is compared of a text."""
        return text.lower() if self.lowercase else text


@dataclass(frozen=True)
class SequenceOutput:
    """What one system gave: one text a row, and, if it is a model, its log-probabilities."""

    predictions: list[str]
    scores: Sequence[float] | None = None
    losses: TokenLosses | None = None


def prediction_table(test: SequenceTest, output: SequenceOutput) -> pa.Table:
    """One row per test row, in their order (columns: `SCHEMA`); `score` is null for controls."""
    nearest = [
        nearest_reference(
            test.comparable(prediction), [test.comparable(r) for r in references], test.unit
        )
        for prediction, references in zip(output.predictions, test.references, strict=True)
    ]
    columns = {
        "id": test.ids,
        "source": test.sources,
        "references": test.references,
        "prediction": output.predictions,
        "score": [None] * len(nearest) if output.scores is None else list(output.scores),
        "exact": [distance == 0 for distance, _ in nearest],
        "distance": [distance for distance, _ in nearest],
        "reference_length": [length for _, length in nearest],
    }
    return pa.table(columns, schema=SCHEMA)


def sequence_report(
    test: SequenceTest, output: SequenceOutput, table: pa.Table, resampling: Resampling
) -> dict[str, Any]:
    """The metrics of one system and, under `intervals`, their confidence intervals.

    Args:
        table: `prediction_table(test, output)`.
    """
    metrics = _point_scores(test, output.predictions)
    intervals = bootstrap(
        _columns(table, output), _statistics(test, output), resampling, shares=_SHARES
    )
    for name in ("loss", "perplexity", "token_accuracy"):
        if name in intervals:
            metrics[name] = intervals[name].value
    return {**metrics, "intervals": {name: each.ends() for name, each in intervals.items()}}


def sequence_difference(
    test: SequenceTest, after: pa.Table, before: pa.Table, resampling: Resampling
) -> dict[str, dict[str, float]]:
    """Paired differences (after - before) of the error rates, with intervals."""
    differences = bootstrap_difference(
        _error_columns(after), _error_columns(before), _error_statistics(test), resampling
    )
    return {name: asdict(each) for name, each in differences.items()}


def translation_comparison(
    test: SequenceTest, outputs: Mapping[str, SequenceOutput], resamples: int
) -> dict[str, dict[str, dict[str, float]]]:
    """sacrebleu's paired bootstrap (Koehn 2004) of every system against the first one.

    It resamples rows, always at 95%, with sacrebleu's own seed, which its signature names.

    Returns:
        system → metric (`bleu`, `chrf`) → `low`, `high` and, but for the first, `p_value`.
    """
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF
    from sacrebleu.significance import PairedTest

    from scratchformer.evaluation.measures.metrics import reference_streams

    _, scores = PairedTest(
        [(name, output.predictions) for name, output in outputs.items()],
        {"BLEU": BLEU(**_bleu_options(test)), "chrF": CHRF(lowercase=test.lowercase)},
        reference_streams(test.references),
        test_type="bs",
        n_samples=resamples,
    )()
    first = next(iter(outputs.values()))
    found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in outputs}
    for metric in (name for name in scores if name != "System"):  # in their order, not a set's
        for name, result in zip(outputs, scores[metric], strict=True):
            entry = {"low": result.mean - result.ci, "high": result.mean + result.ci}
            if result.p_value is not None:
                # For equal outputs no draw differs, and sacrebleu's estimate turns to its minimum.
                same = outputs[name].predictions == first.predictions
                entry["p_value"] = 1.0 if same else result.p_value
            found[name]["bleu" if metric.startswith("BLEU") else "chrf"] = entry
    return found


def _point_scores(test: SequenceTest, predictions: Sequence[str]) -> dict[str, Any]:
    """What the metrics of this project (metrics.py) say."""
    from scratchformer.evaluation.measures import metrics

    predictions = [test.comparable(prediction) for prediction in predictions]
    references = [[test.comparable(r) for r in row] for row in test.references]
    both = {"predictions": predictions, "references": references}
    scores: dict[str, Any] = {}
    scores |= metrics.ExactMatch().compute(**both, unit=test.unit)
    rate = metrics.TokenErrorRate().compute(**both, unit=test.unit)
    scores[_rate_name(test)] = rate["token_error_rate"]
    if test.single_words:
        scores |= metrics.WordErrorRate().compute(**both, unit=test.unit)
    else:
        scores |= metrics.Bleu().compute(**both, **_bleu_options(test))
        scores |= metrics.ChrF().compute(**both, lowercase=test.lowercase)
    return scores


_SHARES = ("exact_match", "wer", "token_accuracy")


def _columns(table: pa.Table, output: SequenceOutput) -> dict[str, np.ndarray]:
    columns = _error_columns(table)
    if output.losses:
        columns["nll"] = output.losses.nll
        columns["tokens"] = output.losses.tokens
        columns["right"] = output.losses.right
    return columns


def _statistics(test: SequenceTest, output: SequenceOutput) -> dict[str, Statistic]:
    statistics = _error_statistics(test)
    if output.losses:
        statistics["loss"] = lambda sums: sums["nll"] / sums["tokens"]
        statistics["perplexity"] = lambda sums: np.exp((sums["nll"] / sums["tokens"]).clip(max=700))
        statistics["token_accuracy"] = lambda sums: sums["right"] / sums["tokens"]
    return statistics


def _error_columns(table: pa.Table) -> dict[str, np.ndarray]:
    return {
        "exact": table.column("exact").to_numpy().astype(float),
        "edits": table.column("distance").to_numpy(),
        "length": table.column("reference_length").to_numpy(),
    }


def _error_statistics(test: SequenceTest) -> dict[str, Statistic]:
    statistics: dict[str, Statistic] = {
        "exact_match": lambda sums: sums["exact"] / sums["rows"],
        _rate_name(test): lambda sums: sums["edits"] / sums["length"],
    }
    if test.single_words:
        statistics["wer"] = lambda sums: 1 - sums["exact"] / sums["rows"]
    return statistics


def _rate_name(test: SequenceTest) -> str:
    if not test.single_words:
        return "token_error_rate"
    return "per" if test.unit == "blanks" else "cer"


def _bleu_options(test: SequenceTest) -> dict[str, Any]:
    tokenize = "13a" if test.unit == "blanks" else "char"
    return {"lowercase": test.lowercase, "tokenize": tokenize}

