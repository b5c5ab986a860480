"""Rows are answered in batches of about equally long texts, and come out in their own order.

A batch is filled up to its longest text, so texts of one length cost least. Some batches of rows
are read at a time, a span, and sorted by length; more would hold more rows in memory. Where worker
processes are allowed (`runtime/workers.py`), each loads the model and answers some of the batches.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, tee
from pathlib import Path

from scratchformer.data.sources.formats.whole_rows import WholeRow
from scratchformer.prediction.answers import Answer
from scratchformer.prediction.models import Predictor, load_predictor
from scratchformer.prediction.windows import Long
from scratchformer.runtime.device import DeviceName
from scratchformer.runtime.workers import in_order

SPAN = 8  # batches of a file that are sorted together

Texts = Sequence[str]  # of one row: a text, or the two of a pair


class Asking:
    """A model and how it is asked. It goes to every worker process, which loads the model once."""

    def __init__(self, model: Path, device: DeviceName, top_k: int, beam: int, long: Long) -> None:
        self.model, self.device = model, device
        self.top_k, self.beam, self.long = top_k, beam, long
        self._loaded: Predictor | None = None

    def load(self) -> Predictor:
        """Raises what `load_predictor` raises."""
        if self._loaded is None:
            self._loaded = load_predictor(self.model, self.device)
        return self._loaded

    def __call__(self, batch: Sequence[Texts]) -> list[list[Answer]]:
        """The answers to each text or pair of a batch."""
        texts, *second = map(list, zip(*batch, strict=True))
        return self.load()(texts, self.top_k, self.beam, self.long, *second)


@dataclass
class _Span:
    """Rows that are sorted together, and their answers so far, by the place of the row."""

    rows: list[tuple[WholeRow, Texts]]
    answers: dict[int, list[Answer]] = field(default_factory=dict)

    def batches(self, size: int) -> Iterator[list[int]]:
        """Places of rows, the longest texts first."""

        def length(place: int) -> int:
            return sum(map(len, self.rows[place][1]))

        order = sorted(range(len(self.rows)), key=length, reverse=True)
        for start in range(0, len(order), size):
            yield order[start : start + size]

    def texts(self, places: list[int]) -> list[Texts]:
        return [self.rows[place][1] for place in places]


def answered(
    asking: Asking, rows: Iterator[tuple[WholeRow, Texts]], batch_size: int, span: int
) -> Iterator[tuple[WholeRow, Texts, list[Answer]]]:
    """Every row with its texts and their answers, in the order of the rows.

    Args:
        batch_size: texts that the model reads at a time.
        span: batches that are read before the first one is answered.
    """

    def batches() -> Iterator[tuple[_Span, list[int]]]:
        while some := list(islice(rows, span * batch_size)):
            one = _Span(some)
            for places in one.batches(batch_size):
                yield one, places

    here, there = tee(batches())
    found = in_order(asking, (one.texts(places) for one, places in there))
    for (one, places), answers in zip(here, found, strict=True):
        one.answers.update(zip(places, answers, strict=True))
        if len(one.answers) == len(one.rows):
            for place, (row, texts) in enumerate(one.rows):
                yield row, texts, one.answers[place]
