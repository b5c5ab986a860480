"""Texts that arrive one string each (typed, from a table of predictions) as model inputs."""

from collections.abc import Sequence

from scratchformer.base.errors import DataError
from scratchformer.data.preparation.contract import canonical
from scratchformer.text.inputs import Encoded, ModelInputs


def encode_texts(inputs: ModelInputs, texts: Sequence[str]) -> Encoded:
    """The texts as the model read texts in training: canonical, and cut where they were cut.

    A tab parts the two texts of a pair; no canonical text holds one.

    Raises:
        DataError: the model reads pairs of texts, and a text is not one.
    """
    if not inputs.rules.pairs:
        return inputs.encode([canonical(text) for text in texts])
    parts = [text.split("\t", 1) for text in texts]
    if any(len(part) < 2 for part in parts):
        raise DataError(
            "this model reads pairs of texts; put a tab between the two, or name the column of the "
            "second with --pair-column"
        )
    firsts, seconds = ([canonical(text) for text in side] for side in zip(*parts, strict=True))
    return inputs.encode(firsts, seconds)
