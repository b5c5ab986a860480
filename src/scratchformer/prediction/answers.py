"""What a model answers: labels with their words and calibrated probabilities, or texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scratchformer.base.errors import DataError
from scratchformer.record.calibration import load_calibration

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Answer:
    """A label or a text, and the model's probability of it.

    For a text this is the product of its tokens' probabilities, so long texts have small ones.
    `description` has the words for a label whose name says little ("10": "Diseases of the
    respiratory system").
    """

    text: str
    probability: float
    description: str | None = None


@dataclass(frozen=True)
class Classes:
    """The labels of a classifier by their ids, and how its logits become probabilities."""

    names: Sequence[str]
    descriptions: Sequence[str] | None  # None where they say no more than the names
    temperature: float

    @classmethod
    def of(cls, folder: Path, names: Sequence[str]) -> "Classes":
        """With the calibration of this model, if it has one.

        Raises:
            DataError: it is damaged, or of other labels.
        """
        known = load_calibration(folder)
        if known is None:
            return cls(names, None, 1.0)
        if list(known.labels) != list(names):
            raise DataError(
                f"{folder}: its calibration is of other labels; make it again with: "
                "dvc repro evaluate"
            )
        descriptions = known.descriptions if known.descriptions != known.labels else None
        return cls(names, descriptions, known.temperature)

    def ranked(self, logits: "Tensor", top_k: int) -> list[list[Answer]]:
        """The likeliest labels of each text, the best first; logits `[text, label]`."""
        best = (logits / self.temperature).softmax(dim=-1).topk(min(top_k, len(self.names)))
        return [
            [self._answer(index, value) for index, value in zip(row, values, strict=True)]
            for row, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    def over_windows(self, logits: "Tensor") -> "Tensor":
        """Logits `[label]` of a text from those of its windows `[window, label]`: the mean of
        their log-probabilities, so that a window that is sure counts more."""
        mean = (logits / self.temperature).log_softmax(dim=-1).mean(dim=0)
        return mean * self.temperature

    def _answer(self, index: int, probability: float) -> Answer:
        description = self.descriptions[index] if self.descriptions else None
        return Answer(self.names[index], probability, description)
