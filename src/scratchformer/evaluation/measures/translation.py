"""BLEU and chrF as sums over sentences, counted by sacrebleu (Post 2018, arXiv:1804.08771).

Both are functions of counts of n-grams that are added up over the sentences. sacrebleu counts,
sentence by sentence; base/statistics.py computes the score from the sums, so that the bootstrap
and the permutation test draw whole groups here as for every other measure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scratchformer.base.output_kind import is_chinese, unit_of
from scratchformer.base.statistics import Floats
from scratchformer.evaluation.measures.metrics import reference_streams

_ORDERS = 4  # of BLEU: n-grams of one to four tokens


@dataclass(frozen=True)
class TranslationCounts:
    """The columns of `bleu` and `chrf`, each `[rows]` or `[rows, orders]`, and how they came about.

    Attributes:
        signatures: what sacrebleu asks to be named beside its scores.
    """

    columns: dict[str, Floats]
    signatures: dict[str, str]


def translation_counts(
    predictions: Sequence[str], references: Sequence[Sequence[str]], lowercase: bool = False
) -> TranslationCounts:
    """Count the n-grams of every sentence and of its references.

    Args:
        lowercase: compare without capitals.
    """
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    streams = reference_streams(references)
    bleu = BLEU(lowercase=lowercase, tokenize=bleu_tokenizer(references))
    chrf = CHRF(lowercase=lowercase)
    counts, orders = (_counts(metric, predictions, streams) for metric in (bleu, chrf))
    columns = {
        "bleu_hypothesis": counts[:, 0],
        "bleu_reference": counts[:, 1],
        "bleu_matches": counts[:, 2 : 2 + _ORDERS],
        "bleu_total": counts[:, 2 + _ORDERS :],
        "chrf_hypothesis": orders[:, 0::3],
        "chrf_reference": orders[:, 1::3],
        "chrf_matches": orders[:, 2::3],
    }
    signatures = {
        "bleu_signature": str(bleu.get_signature()),
        "chrf_signature": str(chrf.get_signature()),
    }
    return TranslationCounts(columns, signatures)


def bleu_tokenizer(references: Sequence[Sequence[str]]) -> str:
    """sacrebleu's name for what splits these references into tokens.

    Blanks separate words: `13a`, the standard. Chinese: `zh`, which takes each character for a
    token and leaves Latin words whole. Other writing without blanks (Japanese, Thai): `char`;
    sacrebleu's tokenizers for them need dictionaries that do not come with it.
    """
    if unit_of(references) == "blanks":
        return "13a"
    return "zh" if is_chinese([row[0] for row in references]) else "char"


def _counts(metric: Any, predictions: Sequence[str], streams: Any) -> Floats:
    """What sacrebleu adds up before it computes a score, `[rows, counts]`."""
    return np.array(metric._extract_corpus_statistics(list(predictions), streams), np.float64)
