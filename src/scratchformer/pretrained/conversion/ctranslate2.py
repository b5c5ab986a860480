"""Our encoder-decoder as a model of CTranslate2, which decodes on a CPU or GPU without torch.

CTranslate2's own converter reads a folder of `transformers` and takes the padding token for the
last one. Ours is the first, so the weights are handed over under the names of its
`TransformerSpec` instead. This also keeps what no family of `transformers` has: SwiGLU, RMSNorm,
and a vocabulary for each side. W^Q|W^K|W^V lie side by side there as they do here.

`export_ctranslate2` adds our tokenizers and inputs.json, so that `scratchformer predict --model`
reads the folder like any other model.
"""

import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from scratchformer.base.errors import ParamsError
from scratchformer.base.files import write_whole_folder
from scratchformer.pretrained.conversion.equivalent_models import NEVER
from scratchformer.pretrained.conversion.export import load_to_export
from scratchformer.text.rules import RULES_FILE
from scratchformer.text.tokenizers import SPECIAL_TOKENS, TokenizerPair
from scratchformer.transformer import Transformer, TransformerConfig
from scratchformer.transformer.fused_linear import FusedLinear
from scratchformer.transformer.positions import SCHEMES

ARCHITECTURE = "CTranslate2"
"""Written into config.json, where `load_predictor` looks for it."""
Quantization = Literal["int8"]
"""How matrices are kept instead of in float32: in integers of 8 bits with a scale for each row.
Norms, biases and positions stay in float32; inputs of a product are rounded while it is made."""


def import_ctranslate2() -> Any:
    """The library. Raises ParamsError where it is not installed."""
    try:
        import ctranslate2
    except ImportError as error:
        raise ParamsError(
            f"CTranslate2 is not installed ({error}): pip install -e '.[ctranslate2]'"
        ) from None
    return ctranslate2


def export_ctranslate2(
    model: Path, folder: Path, quantization: Quantization | None = None
) -> None:
    """Write `folder`, which `ctranslate2.Translator` and `scratchformer predict` load.

    Args:
        model: models/scratch or a copy of it, an encoder-decoder.

    Raises:
        DataError: `folder` is there already, or `model` is no such model.
        ParamsError: CTranslate2 is not installed, or lacks a layer of the model.
    """
    import_ctranslate2()
    ours, tokenizers = load_to_export(model, folder)
    spec = to_ctranslate2(ours, tokenizers, quantization)
    with write_whole_folder(folder) as whole:
        spec.save(str(whole))
        for name in ("source.json", "target.json", RULES_FILE):
            shutil.copyfile(model / name, whole / name)


def to_ctranslate2(
    model: Transformer, tokenizers: TokenizerPair, quantization: Quantization | None = None
) -> Any:
    """A checked `ctranslate2.specs.TransformerSpec` with the weights of `model`."""
    specs, config = import_ctranslate2().specs, model.config
    _demand_known_layers(config)
    model = deepcopy(model)  # its weights are rounded where they are
    activation = {"relu": "RELU", "gelu": "GELU", "silu": "SWISH", "swiglu": "SWISH"}
    shared = {
        "num_heads": config.num_heads,
        "pre_norm": config.norm_position == "pre",
        "activation": specs.Activation[activation[config.activation]],
        "layernorm_embedding": config.embedding_norm,
        "ffn_glu": config.activation == "swiglu",
        "rms_norm": config.norm == "rms",
    }
    result = specs.TransformerSpec(
        specs.TransformerEncoderSpec(config.num_encoder_layers, **shared),
        specs.TransformerDecoderSpec(config.num_decoder_layers, **shared),
    )
    for spec, embedding, stack in (
        (result.encoder, model.source_embedding, model.encoder),
        (result.decoder, model.target_embedding, model.decoder),
    ):
        tokens = spec.embeddings[0] if spec is result.encoder else spec.embeddings
        tokens.weight = embedding.tokens.weight
        spec.scale_embeddings = config.scale_embeddings
        assert embedding.positions is not None
        spec.position_encodings.encodings = embedding.positions(0, config.max_length)
        if config.embedding_norm:
            _norm(spec.layernorm_embedding, embedding.norm)
        for theirs, ours in zip(spec.layer, stack.layers, strict=True):
            _layer(theirs, ours)
        if config.norm_position == "pre":
            _norm(spec.layer_norm, stack.final_norm)
    result.decoder.projection.weight = model.output.weight
    result.decoder.projection.bias = _bias_of_logits(model)
    _describe(result, model.config, tokenizers)
    result.validate()
    result.optimize(quantization)
    return result


def _demand_known_layers(config: TransformerConfig) -> None:
    added, in_attention = SCHEMES[config.positions]
    fits = {
        "num_kv_heads": config.kv_heads == config.num_heads,
        "positions": added is not None and in_attention is None,
    }
    for field, fit in fits.items():
        if not fit:
            raise ParamsError(
                f"{field} {getattr(config, field)!r}: the export to CTranslate2 has as many heads "
                "of keys as of queries, and sinusoidal or learned positions"
            )


def _layer(theirs: Any, ours: Any) -> None:
    """One layer of the encoder or decoder: the sub-layers, each with the norm around it."""
    attention = ours.self_attention
    _linear(theirs.self_attention.linear[0], attention.query_key_value)
    _linear(theirs.self_attention.linear[1], attention.output)
    _norm(theirs.self_attention.layer_norm, ours.around_self_attention.norm)
    if hasattr(ours, "cross_attention"):
        attention = ours.cross_attention
        parts = (attention.query, attention.key_value, attention.output)
        for spec, layer in zip(theirs.attention.linear, parts, strict=True):
            _linear(spec, layer)
        _norm(theirs.attention.layer_norm, ours.around_cross_attention.norm)
    inner = ours.feed_forward.inner
    if isinstance(inner, FusedLinear):
        weights, biases = inner.split_rows(inner.weight), inner.split_rows(inner.bias)
        for spec, part in (
            (theirs.ffn.linear_0, "gate"),
            (theirs.ffn.linear_0_noact, "value"),
        ):
            spec.weight, spec.bias = weights[part].contiguous(), biases[part].contiguous()
    else:
        _linear(theirs.ffn.linear_0, inner)
    _linear(theirs.ffn.linear_1, ours.feed_forward.outer)
    _norm(theirs.ffn.layer_norm, ours.around_feed_forward.norm)


def _linear(spec: Any, layer: Any) -> None:
    spec.weight, spec.bias = layer.weight, layer.bias


def _norm(spec: Any, norm: Any) -> None:
    spec.gamma = norm.gain
    if hasattr(norm, "bias"):
        spec.beta = norm.bias


def _bias_of_logits(model: Transformer) -> Tensor:
    """As in our decoding, padding and BOS are never written."""
    config = model.config
    bias: Tensor = model.output.bias
    bias = model.output.weight.new_zeros(config.target_vocab_size) if bias is None else bias.clone()
    bias = bias.detach()
    bias[[config.pad_id, config.bos_id]] = NEVER
    return bias


def _describe(spec: Any, config: TransformerConfig, tokenizers: TokenizerPair) -> None:
    """Vocabularies, special tokens, and what our side reads in config.json."""
    _, bos, eos, unk = SPECIAL_TOKENS
    assert tokenizers.target is not None
    for register, tokenizer, size in (
        (spec.register_source_vocabulary, tokenizers.source, config.source_vocab_size),
        (spec.register_target_vocabulary, tokenizers.target, config.target_vocab_size),
    ):
        names = [tokenizer.id_to_token(number) for number in range(size)]
        register([f"<unused{at}>" if name is None else name for at, name in enumerate(names)])
    described = spec.config
    described.unk_token, described.bos_token, described.eos_token = unk, bos, eos
    described.decoder_start_token = bos
    described.layer_norm_epsilon = config.norm_epsilon
    described.add_attribute("architecture", ARCHITECTURE)
