"""models/scratch over a split of its track."""

from typing import Any

import pyarrow as pa

from scratchformer.base.errors import DataError
from scratchformer.base.layout import SCRATCH_MODEL
from scratchformer.base.terminal import progress
from scratchformer.data.tokenized.read import load_tokenized_info
from scratchformer.evaluation.reports.classification import Probabilities
from scratchformer.evaluation.systems.from_scratch import class_probabilities, decode, token_losses
from scratchformer.evaluation.systems.outputs import SequenceOutput
from scratchformer.evaluation.tracks.report import Settings
from scratchformer.runtime.device import on_device
from scratchformer.text.tokenizers import load_tokenizers


def scratch_probabilities(table: pa.Table, settings: Settings) -> Probabilities:
    """What the from-scratch classifier says of a tokenized split, `[rows, labels]`."""
    from scratchformer.transformer import EncoderClassifier

    model: EncoderClassifier = _load(EncoderClassifier)
    return class_probabilities(model, table, batch_size=settings.batch_size)


def scratch_output(table: pa.Table, rows: int, settings: Settings, name: str) -> SequenceOutput:
    """What the from-scratch model decodes on a tokenized split of `rows` rows, and its losses on
    the references.

    Args:
        name: of the split, for the progress bar.
    """
    from scratchformer.transformer import Transformer

    model: Transformer = _load(Transformer)
    tokenizer = load_tokenizers(SCRATCH_MODEL).target
    if tokenizer is None:
        raise DataError(f"{SCRATCH_MODEL}/target.json not found; make it with: dvc repro")
    with progress(f"evaluate: decoding {name}, from scratch", rows) as bar:
        decoded = decode(
            model,
            table,
            rows,
            beam_size=settings.beam_size,
            max_length=load_tokenized_info("scratch")["max_target_length"],
            batch_size=settings.batch_size,
            advance=bar.advance,
        )
    losses = token_losses(model, table, rows, batch_size=settings.batch_size)
    texts = tokenizer.decode_batch(decoded.ids, skip_special_tokens=True)
    return SequenceOutput(texts, decoded.scores.tolist(), losses)


def target_is_lowercase() -> bool:
    """Whether the vocabulary of the target knows no capitals."""
    target = load_tokenizers(SCRATCH_MODEL).target
    normalizer = target.normalizer if target else None
    return normalizer is not None and normalizer.normalize_str("A") == "a"


def _load(kind: type[Any]) -> Any:
    """models/scratch, which must be of this class.

    Raises:
        DataError: it is missing or does not fit the task of the track.
    """
    from scratchformer.transformer import load_model

    try:
        model = on_device(load_model(SCRATCH_MODEL))
    except (OSError, ValueError) as error:
        fix = "make it with: dvc repro train_scratch"
        raise DataError(f"{SCRATCH_MODEL}: {error}; {fix}") from None
    if not isinstance(model, kind):
        raise DataError(
            f"{SCRATCH_MODEL}: holds a {type(model).__name__}, the task needs a {kind.__name__}; "
            "train it again with: dvc repro train_scratch"
        )
    return model
