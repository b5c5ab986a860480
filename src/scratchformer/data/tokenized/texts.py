"""Texts from outside the pipeline (typed, from a table, served) as model inputs."""

from collections.abc import Sequence

from scratchformer.base.errors import DataError
from scratchformer.data.preparation.contract import canonical
from scratchformer.text.inputs import Encoded, ModelInputs


def encode_texts(
    inputs: ModelInputs, texts: Sequence[str], second_texts: Sequence[str] | None = None
) -> Encoded:
    """The texts as the model read texts in training: canonical, and cut where they were cut.

    Args:
        second_texts: of pairs. Without them, a model of pairs reads what stands before and behind
            a tab in each text; no canonical text holds one.

    Raises:
        DataError: the model reads pairs of texts, and a text is not one; or the other way round.
    """
    if second_texts is not None or not inputs.rules.pairs:
        seconds = None if second_texts is None else [canonical(text) for text in second_texts]
        return inputs.encode([canonical(text) for text in texts], seconds)
    parts = [text.split("\t", 1) for text in texts]
    if any(len(part) < 2 for part in parts):
        raise DataError(
            "this model reads pairs of texts; put a tab between the two, or name the column of the "
            "second with --pair-column"
        )
    return encode_texts(inputs, [part[0] for part in parts], [part[1] for part in parts])
