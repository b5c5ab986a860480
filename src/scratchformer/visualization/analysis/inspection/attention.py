"""Attention maps and embeddings, read out of models as arrays. Nothing here draws.

Works on the from-scratch models of `scratchformer.transformer` and on models of `transformers`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from scratchformer.data.tokenized.texts import encode_texts
from scratchformer.pretrained.models.loading import encoder_of
from scratchformer.runtime.device import device_of
from scratchformer.text.inputs import ModelInputs
from scratchformer.text.tokenizers import BOS_ID
from scratchformer.visualization.analysis.predictions import UnavailableError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from scratchformer.text.tokenizers import TokenizerPair
    from scratchformer.transformer.weights import Model

SOURCE = "source token"
"""What the keys of cross-attention are called."""


@dataclass(frozen=True)
class Attention:
    """The maps of one kind of attention for one row.

    `maps` is `[layers, heads, query, key]`. The names say what the two axes are.
    """

    maps: NDArray[np.float32]
    query_tokens: Sequence[str]
    key_tokens: Sequence[str]
    query_name: str
    key_name: str


def scratch_attention(
    model: "Model",
    tokenizers: "TokenizerPair",
    inputs: ModelInputs,
    source: str,
    target: str | None,
) -> dict[str, Attention]:
    """All attention of a from-scratch model that reads `source` and writes `target`.

    Returns the kinds that the model has: "encoder", "decoder" and "cross" of a Transformer,
    "encoder" of a classifier (without a target). The decoder is shown `<s>` and the target up to
    a position, and predicts the token there; its queries are labelled with what they predict.
    """
    import torch

    from scratchformer.transformer import Transformer, collect_attention

    read = encode_texts(inputs, [source]).ids[0]
    device = device_of(model)
    source_ids = torch.tensor([read], device=device)
    source_tokens = [str(tokenizers.source.id_to_token(i)) for i in read]
    with torch.inference_mode(), collect_attention(model) as collected:
        if not isinstance(model, Transformer):
            model(source_ids)
            return {"encoder": _encoder(_stack(collected.encoder), source_tokens)}
        if tokenizers.target is None or target is None:
            raise UnavailableError("a sequence-to-sequence model needs a target to be shown")
        written = inputs.encode_targets([target]).ids[0]
        model(source_ids, torch.tensor([[BOS_ID, *written[:-1]]], device=device))
    predicted = [str(tokenizers.target.id_to_token(i)) for i in written]
    given = [str(tokenizers.target.id_to_token(BOS_ID)), *predicted[:-1]]
    return {
        "encoder": _encoder(_stack(collected.encoder), source_tokens),
        "decoder": _decoder(_stack(collected.decoder), predicted, given),
        "cross": _cross(_stack(collected.cross), predicted, source_tokens),
    }


def pretrained_attention(
    model: "PreTrainedModel",
    inputs: "Mapping[str, Tensor]",
    tokens: Sequence[str],
    answer: tuple["Tensor", Sequence[str]] | None = None,
) -> dict[str, Attention]:
    """All attention of a `transformers` model loaded with eager attention, for one row.

    Args:
        inputs: what the model reads, one row.
        tokens: the tokens of `input_ids`.
        answer: of an encoder-decoder, the ids `[1, length]` that it wrote and their tokens.

    Returns:
        "encoder", and with an answer also "decoder" and "cross". An encoder-decoder without an
        answer (a classifier such as BART's) shows its encoder.

    Raises:
        UnavailableError: the model gives no maps of this kind, with what it gave.
    """
    import torch

    if answer is None:
        model = encoder_of(model)  # a decoder would ask for inputs of its own
    more: dict[str, Any] = {}
    if answer is not None:
        more["decoder_input_ids"] = model.prepare_decoder_input_ids_from_labels(answer[0])
    name = type(model).__name__
    try:
        with torch.inference_mode():
            output = model(**inputs, **more, output_attentions=True)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise UnavailableError(f"{name} gives no attention maps: {error}") from error

    def maps(field: str, shape: tuple[int, int]) -> NDArray[np.float32]:
        found = getattr(output, field, None) or ()
        if not found or any(each is None for each in found):
            raise UnavailableError(
                f"{name} returned no attention maps: it has no attention, or an attention that "
                "does not write them down."
            )
        stacked = _stack(found)
        if stacked.ndim != 4 or stacked.shape[-2:] != shape:
            raise UnavailableError(
                f"{name} returned attention maps of {' x '.join(map(str, stacked.shape[2:]))}; "
                f"expected {shape[0]} x {shape[1]}, every token to every token."
            )
        return stacked

    source = len(tokens)
    if answer is None:
        return {"encoder": _encoder(maps("attentions", (source, source)), tokens)}
    written = answer[1]
    given = ["(start)", *written[:-1]]
    return {
        "encoder": _encoder(maps("encoder_attentions", (source, source)), tokens),
        "decoder": _decoder(
            maps("decoder_attentions", (len(written), len(written))), written, given
        ),
        "cross": _cross(maps("cross_attentions", (len(written), source)), written, tokens),
    }


def token_embeddings(
    model: "Model", tokenizers: "TokenizerPair"
) -> tuple[NDArray[np.float32], list[str], str]:
    """Input embeddings of a from-scratch model: vectors `[vocabulary, d_model]`, their tokens,
    and the side they belong to: "target" where the model writes, otherwise "source"."""
    side = "target" if hasattr(model, "target_embedding") else "source"
    tokenizer = getattr(tokenizers, side)
    embedding = cast(Any, getattr(model, f"{side}_embedding"))
    vectors: NDArray[np.float32] = embedding.tokens.weight.detach().cpu().numpy()
    return vectors, [str(tokenizer.id_to_token(i)) for i in range(len(vectors))], side


def _encoder(maps: NDArray[np.float32], tokens: Sequence[str]) -> Attention:
    return Attention(maps, tokens, tokens, "token", "token it reads")


def _decoder(
    maps: NDArray[np.float32], predicted: Sequence[str], given: Sequence[str]
) -> Attention:
    return Attention(maps, predicted, given, "predicted token", "token written before")


def _cross(maps: NDArray[np.float32], predicted: Sequence[str], source: Sequence[str]) -> Attention:
    return Attention(maps, predicted, source, "predicted token", SOURCE)


def _stack(maps: Sequence[Any]) -> NDArray[np.float32]:
    """One `[1, heads, query, key]` a layer → `[layers, heads, query, key]`."""
    return np.stack([each[0].float().cpu().numpy() for each in maps])
