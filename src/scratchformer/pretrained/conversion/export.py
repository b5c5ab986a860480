"""Our own trained encoder-decoder as a pretrained model of `transformers`, tokenizer included."""

from pathlib import Path

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.base.files import write_whole_folder
from scratchformer.pretrained.conversion import to_transformers
from scratchformer.pretrained.hub.reading import quiet_transformers
from scratchformer.text.tokenizers import SPECIAL_TOKENS, TokenizerPair, load_tokenizers
from scratchformer.transformer import Transformer, load_model


def load_to_export(model: Path, folder: Path) -> tuple[Transformer, TokenizerPair]:
    """The model and both its tokenizers, to be written into a new `folder`.

    Raises:
        DataError: `folder` is there already, or `model` is no encoder-decoder from scratch.
    """
    if folder.exists():
        raise DataError(f"{folder}: exists already; remove it or choose another name")
    try:
        ours, tokenizers = load_model(model), load_tokenizers(model)
    except (ValueError, OSError) as error:
        raise DataError(f"{model}: not a model from scratch: {error}") from None
    if not isinstance(ours, Transformer) or tokenizers.target is None:
        raise DataError(f"{model}: expected an encoder-decoder, found {type(ours).__name__}")
    return ours, tokenizers


def export_transformers(model: Path, folder: Path) -> None:
    """Write `folder`, which `pretrained.kind: folder` and plain `transformers` load.

    Args:
        model: models/scratch or a copy of it, an encoder-decoder with one vocabulary for both
            sides: a tokenizer of `transformers` has only one.

    Raises:
        DataError: `folder` is there already, or `model` is no such model.
        ParamsError: it has two vocabularies, or a layer that no family of `transformers` has.
    """
    from transformers import PreTrainedTokenizerFast

    ours, tokenizers = load_to_export(model, folder)
    assert tokenizers.target is not None
    if tokenizers.source.to_str() != tokenizers.target.to_str():
        raise ParamsError(
            f"{model}: source and target have separate vocabularies, but a tokenizer of "
            "transformers has one; train it with tokenize.scratch.shared_vocabulary: true"
        )
    pad, bos, eos, unk = SPECIAL_TOKENS
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.source,
        pad_token=pad,
        bos_token=bos,
        eos_token=eos,
        unk_token=unk,
        model_max_length=ours.config.max_length,
    )
    with quiet_transformers(), write_whole_folder(folder) as whole:
        to_transformers(ours).save_pretrained(whole)
        tokenizer.save_pretrained(whole)
