"""The scores of the project as `evaluate.Metric`: usable alone, combined, or by other tools.

`evaluate.load("accuracy")` fetches a script from the hub; these are plain classes over
scikit-learn, rapidfuzz and sacrebleu, so they work without a network:

    >>> WordErrorRate().compute(predictions=["K AE T"], references=[["K AE T", "K AA T"]])
    {'wer': 0.0}

Importing `evaluate` takes seconds; import this module where a score is computed, not before.
"""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from scratchformer.base.output_kind import Unit
from scratchformer.evaluation.measures.edit_distance import nearest_reference

_TEXT = datasets.Value("string")
_TEXTS = datasets.Sequence(datasets.Value("string"))


class OfflineMetric(evaluate.Metric):  # type: ignore[misc]  # evaluate has no types
    """A metric that keeps its inputs in memory and touches no disk.

    Subclasses set `description` and `references`, and implement `_compute`.
    """

    description = ""
    references: Any = _TEXT

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(keep_in_memory=True, **kwargs)

    def _build_data_dir(self) -> str:
        """The base class would make a folder in the home directory that nothing is put into."""
        return str(self._data_dir_root)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.description,
            citation="",
            features=datasets.Features({"predictions": _TEXT, "references": self.references}),
        )


# --- classification: predictions and references are label names -------------------------------


class Accuracy(OfflineMetric):
    description = "Share of rows whose predicted label is the right one."

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        from sklearn.metrics import accuracy_score

        return {"accuracy": float(accuracy_score(references, predictions))}


class MacroF1(OfflineMetric):
    description = (
        "F1 of each label that occurs among the references or predictions, averaged with equal "
        "weight: a small class counts as much as a large one."
    )

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        from sklearn.metrics import f1_score

        score = f1_score(references, predictions, average="macro", zero_division=0.0)
        return {"macro_f1": float(score)}


# --- sequences: each row has one prediction and one or more references ------------------------


class ExactMatch(OfflineMetric):
    description = "Share of rows whose output equals any reference, unit by unit."
    references = _TEXTS

    def _compute(
        self,
        predictions: Sequence[str],
        references: Sequence[Sequence[str]],
        unit: Unit = "blanks",
    ) -> dict[str, float]:
        return {"exact_match": _share_exact(predictions, references, unit)}


class WordErrorRate(OfflineMetric):
    description = (
        "Word error rate of grapheme-to-phoneme conversion: the share of words whose output "
        "equals none of the listed pronunciations."
    )
    references = _TEXTS

    def _compute(
        self,
        predictions: Sequence[str],
        references: Sequence[Sequence[str]],
        unit: Unit = "blanks",
    ) -> dict[str, float]:
        return {"wer": 1.0 - _share_exact(predictions, references, unit)}


class TokenErrorRate(OfflineMetric):
    description = (
        "Edits (insertions, deletions, substitutions of units) to the nearest reference, summed "
        "over the rows and divided by the summed lengths of those references. Over phonemes this "
        "is the phoneme error rate; it can pass 1."
    )
    references = _TEXTS

    def _compute(
        self,
        predictions: Sequence[str],
        references: Sequence[Sequence[str]],
        unit: Unit = "blanks",
    ) -> dict[str, float]:
        pairs = zip(predictions, references, strict=True)
        nearest = [nearest_reference(output, answers, unit) for output, answers in pairs]
        edits = sum(distance for distance, _ in nearest)
        return {"token_error_rate": edits / sum(length for _, length in nearest)}


class Bleu(OfflineMetric):
    description = "Corpus BLEU (0 to 100) of sacrebleu, with the signature to compare by."
    references = _TEXTS

    def _compute(
        self,
        predictions: Sequence[str],
        references: Sequence[Sequence[str]],
        lowercase: bool = False,
        tokenize: str = "13a",
    ) -> dict[str, float | str]:
        from sacrebleu.metrics.bleu import BLEU

        metric = BLEU(lowercase=lowercase, tokenize=tokenize)
        score = metric.corpus_score(list(predictions), reference_streams(references))
        return {"bleu": float(score.score), "bleu_signature": str(metric.get_signature())}


class ChrF(OfflineMetric):
    description = "Corpus chrF (0 to 100) of sacrebleu: F-score over character n-grams."
    references = _TEXTS

    def _compute(
        self,
        predictions: Sequence[str],
        references: Sequence[Sequence[str]],
        lowercase: bool = False,
    ) -> dict[str, float | str]:
        from sacrebleu.metrics.chrf import CHRF

        metric = CHRF(lowercase=lowercase)
        score = metric.corpus_score(list(predictions), reference_streams(references))
        return {"chrf": float(score.score), "chrf_signature": str(metric.get_signature())}


def reference_streams(references: Sequence[Sequence[str]]) -> list[list[str | None]]:
    """Rows of references as sacrebleu's streams: stream k holds the k-th reference of each row,
    None where a row has fewer."""
    most = max(len(row) for row in references)
    return [[row[k] if k < len(row) else None for row in references] for k in range(most)]


def _share_exact(
    predictions: Sequence[str], references: Sequence[Sequence[str]], unit: Unit
) -> float:
    pairs = zip(predictions, references, strict=True)
    exact = [nearest_reference(output, answers, unit).distance == 0 for output, answers in pairs]
    return sum(exact) / len(exact)
