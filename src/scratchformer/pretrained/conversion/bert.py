"""BERT and RoBERTa: post-norm encoders with learned positions and a norm after the embeddings.

The vector of token type 0 is added to every position's vector: for a text without a second part,
that is what the type embedding does. The pooler belongs to the head, see bert_classifier.py.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from scratchformer.base.errors import ParamsError
from scratchformer.pretrained.conversion.rules import Rule, copy_in, linear, named, norm
from scratchformer.transformer import EncoderClassifier, TransformerConfig

FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert")


def rules(layers: int) -> list[Rule]:
    """Which tensor is which."""
    result = [
        Rule("source_embedding.tokens.weight", "embeddings.word_embeddings.weight"),
        Rule("source_embedding.positions.table", "embeddings.position_embeddings.weight"),
        *norm("source_embedding.norm", "embeddings.LayerNorm"),
    ]
    for number in range(layers):
        ours, theirs = f"encoder.layers.{number}", f"encoder.layer.{number}"
        result += [
            *(
                rule
                for part in ("query", "key", "value")
                for rule in linear(
                    f"{ours}.self_attention.query_key_value.{part}",
                    f"{theirs}.attention.self.{part}",
                )
            ),
            *linear(f"{ours}.self_attention.output", f"{theirs}.attention.output.dense"),
            *norm(f"{ours}.around_self_attention.norm", f"{theirs}.attention.output.LayerNorm"),
            *linear(f"{ours}.feed_forward.inner", f"{theirs}.intermediate.dense"),
            *linear(f"{ours}.feed_forward.outer", f"{theirs}.output.dense"),
            *norm(f"{ours}.around_feed_forward.norm", f"{theirs}.output.LayerNorm"),
        ]
    return result


def load(theirs: Any) -> EncoderClassifier:
    """See `conversion.from_transformers`."""
    ours = EncoderClassifier(configuration(theirs.config)).eval()
    fill(ours, named(theirs))
    return ours


def configuration(settings: Any) -> TransformerConfig:
    """Our configuration of an encoder that `settings`, a config.json as an object, describes.

    Raises:
        ParamsError: an activation that our code does not have.
    """
    if settings.hidden_act not in ("relu", "gelu"):
        raise ParamsError(f"hidden_act {settings.hidden_act!r}: ours are relu and gelu")
    offset = 0 if settings.model_type == "bert" else settings.pad_token_id + 1
    return TransformerConfig(
        source_vocab_size=settings.vocab_size,
        d_model=settings.hidden_size,
        num_heads=settings.num_attention_heads,
        d_ff=settings.intermediate_size,
        num_encoder_layers=settings.num_hidden_layers,
        num_decoder_layers=0,
        dropout=settings.hidden_dropout_prob,
        attention_dropout=settings.attention_probs_dropout_prob,
        norm_position="post",
        norm_epsilon=settings.layer_norm_eps,
        activation=settings.hidden_act,
        positions="learned",
        position_offset=offset,
        max_length=settings.max_position_embeddings - offset,
        scale_embeddings=False,
        embedding_norm=True,
        pad_id=settings.pad_token_id,
    )


def fill(ours: EncoderClassifier, theirs: Mapping[str, Tensor]) -> None:
    """Copy the weights of a BertModel or RobertaModel, by their names there."""
    tensors = dict(theirs)
    positions = "embeddings.position_embeddings.weight"
    tensors[positions] = (
        tensors[positions] + tensors["embeddings.token_type_embeddings.weight"][0]
    ).detach()
    copy_in(rules(ours.config.num_encoder_layers), named(ours), tensors)
