"""The measures, each declared once: evaluation, tables, plots, seeds and README read these records.

A measure is a function of sums over rows (`base/statistics.py`). A report gives the sums that a
system has, and `measures_from` says which measures they allow, so adding one is adding a record
here and, where they are new, its sums.
"""

from collections.abc import Collection
from dataclasses import dataclass

from scratchformer.base.registry import Registry
from scratchformer.base.statistics import (
    Statistic,
    bleu,
    calibration_error,
    chrf,
    error_rate,
    macro_f1,
    perplexity,
    ratio,
)


@dataclass(frozen=True)
class Measure:
    """One number that says how good a system is.

    Attributes:
        key: in metrics.json, histories and tables.
        title: as a person reads it.
        short: the same where there is little room.
        higher_is_better: the direction.
        statistic: from sums to the number.
        sums: the names of the sums that it reads, besides `rows`.
        percent: a share, which is shown in percent.
        digits: after the point, of the number as it is shown.
        share_of_rows: a mean of zeros and ones; where all are equal it has an exact interval.
        has_interval: the bootstrap says something about it.
        in_table: a column in README and at the end of the stage; all are on the report page.
        as_bar: worth a bar. Without a scale from 0 to a known end, a bar says nothing.
        said_by: not shown where this other measure is, because it says the same.
    """

    key: str
    title: str
    short: str
    higher_is_better: bool
    statistic: Statistic
    sums: tuple[str, ...]
    percent: bool = True
    digits: int = 1
    share_of_rows: bool = False
    has_interval: bool = True
    in_table: bool = True
    as_bar: bool = True
    said_by: str | None = None

    def text(self, value: float) -> str:
        """The number as it is shown: `37.9 %`, `1.36`."""
        return f"{self._scaled(value)} %" if self.percent else self._scaled(value)

    def text_with_ends(self, value: float, low: float | None, high: float | None) -> str:
        """With its interval, if it has one: `37.9 % [36.8, 39.1]`."""
        if low is None or high is None:
            return self.text(value)
        return f"{self.text(value)} [{self._scaled(low)}, {self._scaled(high)}]"

    def difference_text(self, value: float, low: float | None, high: float | None) -> str:
        """A difference of two systems: `+2.7 points [+1.5, +4.0]`; points are of a percent."""
        text = self._scaled(value, "+") + (" points" if self.percent else "")
        if low is None or high is None:
            return text
        return f"{text} [{self._scaled(low, '+')}, {self._scaled(high, '+')}]"

    def better(self, one: float, other: float) -> bool:
        """Whether the first value is better than the second."""
        return one > other if self.higher_is_better else one < other

    def _scaled(self, value: float, sign: str = "") -> str:
        return f"{value * (100 if self.percent else 1):{sign}.{self.digits}f}"


HIGHER, LOWER = True, False

# In the order of columns and panels: of each kind of task the first one is read first.
MEASURES: Registry[Measure] = Registry(
    "measure",
    {
        measure.key: measure
        for measure in (
            Measure(
                "accuracy", "accuracy", "acc.", HIGHER, ratio("right", "rows"), ("right",),
                share_of_rows=True,
            ),
            Measure(
                "macro_f1", "macro-F1", "F1", HIGHER, macro_f1, ("predicted", "gold", "hits")
            ),
            Measure(
                "wer", "word error rate", "WER", LOWER, error_rate("exact_word"),
                ("exact_word",), share_of_rows=True,
            ),
            Measure(
                "per", "phoneme error rate", "PER", LOWER,
                ratio("phoneme_edits", "phonemes"), ("phoneme_edits", "phonemes"),
            ),
            Measure(
                "cer", "character error rate", "CER", LOWER,
                ratio("character_edits", "characters"), ("character_edits", "characters"),
            ),
            Measure(
                "bleu", "BLEU", "BLEU", HIGHER, bleu,
                ("bleu_matches", "bleu_total", "bleu_hypothesis", "bleu_reference"),
                percent=False,
            ),
            Measure(
                "chrf", "chrF", "chrF", HIGHER, chrf,
                ("chrf_hypothesis", "chrf_reference", "chrf_matches"), percent=False,
            ),
            Measure(
                "token_error_rate", "token error rate", "tok. err.", LOWER,
                ratio("token_edits", "reference_tokens"), ("token_edits", "reference_tokens"),
            ),
            Measure(
                "exact_match", "exact match", "exact", HIGHER, ratio("exact", "rows"), ("exact",),
                share_of_rows=True, said_by="wer",
            ),
            Measure(
                "token_accuracy", "token accuracy", "tok. acc.", HIGHER,
                ratio("token_right", "items"), ("token_right", "items"),
                in_table=False, as_bar=False,
            ),
            Measure(
                "loss", "loss (nats)", "loss", LOWER, ratio("nll", "items"), ("nll", "items"),
                percent=False, digits=3, in_table=False, as_bar=False,
            ),
            # An item is a target token where the answer is text, and a row where it is a label;
            # of labels nobody asks for the perplexity.
            Measure(
                "perplexity", "perplexity", "ppl", LOWER, perplexity,
                ("nll", "items", "token_right"), percent=False, digits=2, as_bar=False,
            ),
            # Drawing rows with repetition adds noise to every bin, and |right - claimed| only
            # grows by noise: most drawn values lie above the computed one, in no interval.
            Measure(
                "ece", "calibration error", "ECE", LOWER, calibration_error,
                ("claimed", "claimed_right"), has_interval=False, as_bar=False,
            ),
        )
    },
)  # fmt: skip


def measures_from(sums: Collection[str]) -> list[Measure]:
    """The measures that these sums allow, in the order of `MEASURES`."""
    return [measure for measure in MEASURES.values() if set(measure.sums) <= set(sums)]


def shown(keys: Collection[str]) -> list[Measure]:
    """The measures among these keys that are worth showing side by side, in their order."""
    return [
        measure
        for measure in MEASURES.values()
        if measure.key in keys and measure.said_by not in keys
    ]
