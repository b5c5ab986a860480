"""Looking into models: attention maps and embeddings as arrays. Nothing here draws.

Works on the from-scratch models of `scratchformer.transformer` and on encoders of `transformers`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from scratchformer.data.tokenized.columns import InputColumns, input_table
from scratchformer.data.tokenized.texts import encode_texts
from scratchformer.pretrained.inference import padded_inputs
from scratchformer.text.inputs import ModelInputs
from scratchformer.text.tokenizers import BOS_ID
from scratchformer.visualization.analysis.predictions import UnavailableError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from scratchformer.text.tokenizers import TokenizerPair
    from scratchformer.transformer.weights import Model

MAX_TOKENS = 64  # longer rows are not drawn: their labels would be unreadable


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
    source_ids = torch.tensor([read])
    source_tokens = [str(tokenizers.source.id_to_token(i)) for i in read]
    with torch.inference_mode(), collect_attention(model) as collected:
        if not isinstance(model, Transformer):
            model(source_ids)
            return {
                "encoder": Attention(
                    _stack(collected.encoder), source_tokens, source_tokens, "query", "key"
                )
            }
        if tokenizers.target is None or target is None:
            raise UnavailableError("a sequence-to-sequence model needs a target to be shown")
        written = inputs.encode_targets([target]).ids[0]
        model(source_ids, torch.tensor([[BOS_ID, *written[:-1]]]))
    predicted = [str(tokenizers.target.id_to_token(i)) for i in written]
    given = [str(tokenizers.target.id_to_token(BOS_ID)), *predicted[:-1]]
    return {
        "encoder": Attention(
            _stack(collected.encoder), source_tokens, source_tokens, "source token", "source token"
        ),
        "decoder": Attention(
            _stack(collected.decoder), predicted, given, "predicted token", "token written before"
        ),
        "cross": Attention(
            _stack(collected.cross), predicted, source_tokens, "predicted token", "source token"
        ),
    }


def encoder_attention(
    model: "PreTrainedModel", inputs: ModelInputs, text: str
) -> Attention:
    """Every layer and head of a `transformers` encoder, loaded with `attention="eager"`, over what
    the model reads of `text`.

    Raises:
        UnavailableError: the model gave fewer maps than it has layers (fused kernels give none).
    """
    import torch

    from scratchformer.pretrained.hub.loading import encoder_of

    read = encode_texts(inputs, [text])
    batch = padded_inputs(model, InputColumns.of(input_table(read)), np.array([0]))
    with torch.inference_mode():
        maps = encoder_of(model)(**batch, output_attentions=True).attentions or ()
    expected = model.config.num_hidden_layers
    if len(maps) != expected or any(each is None for each in maps):
        raise UnavailableError(
            f"{type(model).__name__} returned {len(maps)} attention maps for {expected} layers; "
            "it has to be loaded with eager attention"
        )
    tokens = inputs.source.tokens(read.ids[0])
    return Attention(_stack(maps), tokens, tokens, "query", "key")


def token_embeddings(
    model: "Model", tokenizers: "TokenizerPair"
) -> tuple[NDArray[np.float32], list[str], str]:
    """Input embeddings of a from-scratch model: vectors `[vocabulary, d_model]`, their tokens,
    and the side they belong to: "target" where the model writes, otherwise "source"."""
    side = "target" if hasattr(model, "target_embedding") else "source"
    tokenizer = getattr(tokenizers, side)
    embedding = cast(Any, getattr(model, f"{side}_embedding"))
    vectors: NDArray[np.float32] = embedding.tokens.weight.detach().numpy()
    return vectors, [str(tokenizer.id_to_token(i)) for i in range(len(vectors))], side


def attention_rollout(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Attention traced through all layers: `[layers, heads, n, n]` → `[n, n]`, rows sum to one.

    Attention rollout (Abnar and Zuidema 2020, section 3): the heads of a layer are averaged, half
    of what a position holds comes past the layer through the residual connection, and the layers
    are multiplied.
    """
    positions = maps.shape[-1]
    flow = np.eye(positions)
    for layer in maps.astype(np.float64).mean(axis=1):
        flow = (0.5 * layer + 0.5 * np.eye(positions)) @ flow
    rollout: NDArray[np.float32] = (flow / flow.sum(axis=-1, keepdims=True)).astype(np.float32)
    return rollout


def sharpest_layer(maps: NDArray[np.float32]) -> int:
    """The layer whose head average has the lowest mean entropy: the easiest one to read."""
    mean = maps.mean(axis=1).astype(np.float64)
    entropy = -(mean * np.log(np.maximum(mean, 1e-12))).sum(axis=-1).mean(axis=-1)
    return int(entropy.argmin())


def choose_examples(
    lengths: Sequence[int], right: Sequence[bool], ids: Sequence[str], count: int
) -> list[int]:
    """Rows to look at: right answers of different lengths from the median up, never by chance.

    Rows over `MAX_TOKENS` are left out; wrong answers are taken only if there are no right ones.
    """
    drawable = [i for i, length in enumerate(lengths) if 1 < length <= MAX_TOKENS]
    candidates = [i for i in drawable if right[i]] or drawable
    candidates.sort(key=lambda i: (lengths[i], ids[i]))
    if not candidates:
        return []
    places = np.linspace(0.5, 0.95, count) * (len(candidates) - 1)
    return [candidates[place] for place in dict.fromkeys(places.round().astype(int).tolist())]


def _stack(maps: Sequence[Any]) -> NDArray[np.float32]:
    """One `[1, heads, query, key]` a layer → `[layers, heads, query, key]`."""
    return np.stack([each[0].float().numpy() for each in maps])
