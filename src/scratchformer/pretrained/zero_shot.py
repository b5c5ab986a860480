"""Classification before any training: the label whose description is nearest to the text.

Text and filled prompts ("This is a case of {label}.", with the label's description in the braces)
are embedded by the pretrained encoder; the score of a label is the cosine similarity. This is the
fair "before" of a sentence encoder: it uses what the model knows and no labelled training row.

Two choices are made on the validation split, none on the test split: the prompt (best accuracy;
the first one wins a tie) and the scale that turns cosines into probabilities (best likelihood).
The scale does not change which label comes first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scratchformer.data.tokenized.columns import input_table
from scratchformer.pretrained.inference import embed
from scratchformer.text.inputs import ModelInputs

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class ZeroShot:
    """The chosen prompt, embedded: ready to score texts."""

    prompt: str
    valid_accuracy: dict[str, float]  # of every prompt
    scale: float  # softmax(scale · cosine)
    label_vectors: np.ndarray  # float32 [labels, d_model], unit length

    @classmethod
    def choose(
        cls,
        encode: Callable[[Sequence[str]], np.ndarray],
        prompts: Sequence[str],
        labels: Sequence[tuple[str, str]],
        valid_vectors: np.ndarray,
        valid_labels: Sequence[int],
    ) -> "ZeroShot":
        """Try every prompt on the validation split and keep the one that is right most often.

        Args:
            encode: texts → unit vectors [texts, d_model].
            prompts: each with the placeholder `{label}`.
            labels: (name, description) in the order of the label ids; an empty description
                falls back to the name.
            valid_vectors: unit vectors of the validation texts, as tokenized.
            valid_labels: their label ids.
        """
        texts, gold = valid_vectors, np.asarray(valid_labels)
        accuracy: dict[str, float] = {}
        vectors: dict[str, np.ndarray] = {}
        for prompt in prompts:
            # str.replace and not str.format: a description may itself hold braces.
            filled = [prompt.replace("{label}", text or name) for name, text in labels]
            vectors[prompt] = encode(filled)
            accuracy[prompt] = float(((texts @ vectors[prompt].T).argmax(axis=1) == gold).mean())
        best = max(accuracy, key=lambda prompt: accuracy[prompt])
        scale = _likeliest_scale(texts @ vectors[best].T, gold)
        return cls(best, accuracy, scale, vectors[best])

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """softmax(scale · cosine): float32 [texts, labels] from unit vectors [texts, d_model]."""
        from scipy.special import softmax

        cosine = (vectors @ self.label_vectors.T).astype(np.float64)
        return np.asarray(softmax(self.scale * cosine, axis=1), dtype=np.float32)


@dataclass(frozen=True)
class TextEncoder:
    """Texts to unit vectors [texts, d_model]."""

    model: "PreTrainedModel"
    inputs: ModelInputs
    batch_size: int

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Single texts, such as filled prompts, also for a model of pairs."""
        read = self.inputs.source.encode([self.inputs.rules.prefix + text for text in texts])
        return embed(self.model, input_table(read), self.batch_size)


def _likeliest_scale(cosine: np.ndarray, gold: np.ndarray) -> float:
    """The scale s ≥ 1 at which softmax(s · cosine) gives the validation labels the most
    likelihood (temperature scaling, Guo et al. 2017; s is one over their temperature)."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    cosine = cosine.astype(np.float64)
    rows = np.arange(len(gold))

    def loss(log_scale: float) -> float:
        return float(-log_softmax(np.exp(log_scale) * cosine, axis=1)[rows, gold].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(0.0, np.log(1000.0)), method="bounded").x))
