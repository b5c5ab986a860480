"""Marian, M2M100 and Pegasus: three descendants of BART that share its names.

| family  | norm | sinusoids                       | vocabularies | bias on the logits |
|---------|------|---------------------------------|--------------|--------------------|
| Marian  | post | halves                          | one or two   | yes                |
| M2M100  | pre  | tensor2tensor's, from pad_id + 1 | one          | no                 |
| Pegasus | pre  | halves                          | one          | yes                |
"""

from dataclasses import replace
from typing import Any

from scratchformer.base.errors import ParamsError
from scratchformer.pretrained.conversion.equivalent_models import with_halves, with_one_vocabulary
from scratchformer.pretrained.conversion.rules import (
    Rule,
    check_complete,
    copy_in,
    copy_out,
    linear,
    named,
    norm,
)
from scratchformer.transformer import Transformer, TransformerConfig

FAMILIES = ("marian", "m2m_100", "pegasus")


def rules(config: TransformerConfig, family: str) -> list[Rule]:
    """Which tensor is which. The first rules name the shared matrix, which later ones refine."""
    result = []
    if family != "marian" or config.tie_embeddings == "all":
        result.append(Rule("source_embedding.tokens.weight", "model.shared.weight"))
    result += [
        Rule("source_embedding.tokens.weight", "model.encoder.embed_tokens.weight"),
        Rule("target_embedding.tokens.weight", "model.decoder.embed_tokens.weight"),
        Rule("output.weight", "lm_head.weight"),
    ]
    if config.output_bias:
        result.append(Rule("output.bias", "final_logits_bias"))
    for side, layers in (
        ("encoder", config.num_encoder_layers),
        ("decoder", config.num_decoder_layers),
    ):
        for number in range(layers):
            result += _layer(side, number)
        if config.norm_position == "pre":
            result += norm(f"{side}.final_norm", f"model.{side}.layer_norm")
    return result


def _layer(side: str, number: int) -> list[Rule]:
    ours, theirs = f"{side}.layers.{number}", f"model.{side}.layers.{number}"
    self_attention, cross_attention = f"{theirs}.self_attn", f"{theirs}.encoder_attn"
    result = [
        *_parts(f"{ours}.self_attention.query_key_value", self_attention, "query", "key", "value"),
        *linear(f"{ours}.self_attention.output", f"{self_attention}.out_proj"),
        *norm(f"{ours}.around_self_attention.norm", f"{theirs}.self_attn_layer_norm"),
        *linear(f"{ours}.feed_forward.inner", f"{theirs}.fc1"),
        *linear(f"{ours}.feed_forward.outer", f"{theirs}.fc2"),
        *norm(f"{ours}.around_feed_forward.norm", f"{theirs}.final_layer_norm"),
    ]
    if side == "decoder":
        result += [
            *linear(f"{ours}.cross_attention.query", f"{cross_attention}.q_proj"),
            *_parts(f"{ours}.cross_attention.key_value", cross_attention, "key", "value"),
            *linear(f"{ours}.cross_attention.output", f"{cross_attention}.out_proj"),
            *norm(f"{ours}.around_cross_attention.norm", f"{theirs}.encoder_attn_layer_norm"),
        ]
    return result


def _parts(ours: str, theirs: str, *parts: str) -> list[Rule]:
    """Layers that we store side by side, and they as q_proj, k_proj and v_proj."""
    return [rule for part in parts for rule in linear(f"{ours}.{part}", f"{theirs}.{part[0]}_proj")]


def export(model: Transformer) -> Any:
    """See `conversion.to_transformers`."""
    import transformers

    family = _family(model.config)
    if model.config.positions == "sinusoidal":
        model = with_halves(model)
    config = model.config
    if family != "marian" and config.source_vocab_size != config.target_vocab_size:
        if family == "m2m_100":
            raise ParamsError("M2M100 has one vocabulary and no bias to fill up a smaller one with")
        model = with_one_vocabulary(model)
    elif family != "m2m_100":
        model = _with_output_bias(model)
    config = model.config
    kinds = {
        "marian": (transformers.MarianConfig, transformers.MarianMTModel),
        "m2m_100": (transformers.M2M100Config, transformers.M2M100ForConditionalGeneration),
        "pegasus": (transformers.PegasusConfig, transformers.PegasusForConditionalGeneration),
    }
    config_kind, model_kind = kinds[family]
    theirs = model_kind(config_kind(**_their_settings(config, family)))
    chosen = rules(config, family)
    check_complete(chosen, model, theirs)
    copy_out(chosen, named(model), named(theirs))
    theirs.tie_weights()
    theirs.generation_config = transformers.GenerationConfig(
        decoder_start_token_id=config.bos_id,
        bos_token_id=config.bos_id,
        eos_token_id=config.eos_id,
        pad_token_id=config.pad_id,
        suppress_tokens=sorted({config.pad_id, config.bos_id}),
        max_length=config.max_length,
    )
    return theirs.eval()


def _family(config: TransformerConfig) -> str:
    """The family whose models compute what this configuration says, or ParamsError."""
    m2m = config.position_offset == config.pad_id + 1 and config.slowest_wave_is_exact
    plain = config.position_offset == 0 and not config.slowest_wave_is_exact
    fits = {
        "num_kv_heads": config.kv_heads == config.num_heads,
        "positions": config.positions.startswith("sinusoidal"),
        "norm": config.norm == "layer",
        "norm_epsilon": config.norm_epsilon == 1e-5,
        "activation": config.activation in ("relu", "gelu", "silu"),
        "embedding_norm": not config.embedding_norm,
        "position_offset": plain or (m2m and config.norm_position == "pre"),
        "output_bias": not (config.output_bias and m2m),
    }
    for field, fit in fits.items():
        if not fit:
            value = getattr(config, field)
            raise ParamsError(f"{field} {value!r}: no model family of transformers to export to")
    if config.norm_position == "post":
        return "marian"
    return "m2m_100" if m2m else "pegasus"


def _with_output_bias(model: Transformer) -> Transformer:
    """Marian and Pegasus always have the bias; zeros change nothing."""
    if model.config.output_bias:
        return model
    result = Transformer(replace(model.config, output_bias=True)).eval()
    result.load_state_dict({"output.bias": result.output.bias, **model.state_dict()})
    return result


def _their_settings(config: TransformerConfig, family: str) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "vocab_size": config.source_vocab_size,
        "d_model": config.d_model,
        "activation_function": config.activation,
        "scale_embedding": config.scale_embeddings,
        "dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "activation_dropout": config.activation_dropout,
        "max_position_embeddings": config.max_length,
        "tie_word_embeddings": config.tie_embeddings == "all",
        "pad_token_id": config.pad_id,
        "bos_token_id": config.bos_id,
        "eos_token_id": config.eos_id,
        "decoder_start_token_id": config.bos_id,
        "forced_eos_token_id": None,
    }
    for side in ("encoder", "decoder"):
        settings[f"{side}_layers"] = getattr(config, f"num_{side}_layers")
        settings[f"{side}_attention_heads"] = config.num_heads
        settings[f"{side}_ffn_dim"] = config.d_ff
        settings[f"{side}_layerdrop"] = 0.0
    if family == "marian":
        settings["decoder_vocab_size"] = config.target_vocab_size
        settings["share_encoder_decoder_embeddings"] = config.tie_embeddings == "all"
        settings["tie_word_embeddings"] = config.tie_embeddings != "none"
    return settings


def load(theirs: Any) -> Transformer:
    """See `conversion.from_transformers`."""
    config = _our_config(theirs.config)
    ours = Transformer(config).eval()
    chosen = rules(config, theirs.config.model_type)
    check_complete(chosen, ours, theirs)
    copy_in(chosen, named(ours), named(theirs))
    return ours


def _our_config(theirs: Any) -> TransformerConfig:
    family = theirs.model_type
    for name in ("ffn_dim", "attention_heads"):
        if getattr(theirs, f"encoder_{name}") != getattr(theirs, f"decoder_{name}"):
            raise ParamsError(f"encoder_{name} and decoder_{name} differ; ours are one number")
    activation = theirs.activation_function.replace("swish", "silu")  # two names of one function
    if activation not in ("relu", "gelu", "silu"):
        raise ParamsError(f"activation_function {activation!r}: ours are relu, gelu and silu")
    tie: Any = "all" if theirs.tie_word_embeddings else "none"
    target_size = theirs.vocab_size
    if family == "marian" and not theirs.share_encoder_decoder_embeddings:
        target_size = theirs.decoder_vocab_size
        tie = "decoder" if theirs.tie_word_embeddings else "none"
    m2m = family == "m2m_100"
    return TransformerConfig(
        source_vocab_size=theirs.vocab_size,
        target_vocab_size=target_size,
        d_model=theirs.d_model,
        num_heads=theirs.encoder_attention_heads,
        d_ff=theirs.encoder_ffn_dim,
        num_encoder_layers=theirs.encoder_layers,
        num_decoder_layers=theirs.decoder_layers,
        dropout=theirs.dropout,
        attention_dropout=theirs.attention_dropout,
        activation_dropout=theirs.activation_dropout,
        norm_position="post" if family == "marian" else "pre",
        activation=activation,
        positions="sinusoidal_halves",
        max_length=theirs.max_position_embeddings,
        position_offset=theirs.pad_token_id + 1 if m2m else 0,
        slowest_wave_is_exact=m2m,
        tie_embeddings=tie,
        scale_embeddings=theirs.scale_embedding,
        output_bias=not m2m,
        pad_id=theirs.pad_token_id,
        bos_id=theirs.decoder_start_token_id,
        eos_id=theirs.eos_token_id,
    )
