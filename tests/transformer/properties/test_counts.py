"""What a model costs, counted from its sizes, is what it has and what it computes."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from scratchformer.transformer import Transformer, TransformerConfig

configs = st.builds(
    TransformerConfig,
    source_vocab_size=st.integers(4, 40),
    target_vocab_size=st.integers(4, 40),
    d_model=st.sampled_from([8, 16, 24]),
    num_heads=st.sampled_from([2, 4]),
    num_kv_heads=st.sampled_from([0, 1, 2]),
    d_ff=st.integers(1, 50),
    num_encoder_layers=st.integers(0, 3),
    num_decoder_layers=st.integers(1, 3),
    norm_position=st.sampled_from(["pre", "post"]),
    tie_embeddings=st.sampled_from(["none", "decoder"]),
    max_length=st.just(16),
    attention=st.just("explicit"),  # torch counts matrix products, not the fused kernel on a CPU
)
lengths = st.integers(1, 16)
few = settings(max_examples=20, deadline=None, derandomize=True)


def meta_model(config: TransformerConfig) -> Transformer:
    """Shapes without numbers: nothing is stored, nothing is computed."""
    with torch.device("meta"):
        return Transformer(config)


@few
@given(configs)
def test_parameters_follow_from_the_sizes(config):
    d, ff, kv = config.d_model, config.d_ff, config.kv_width
    attention = 2 * d * d + 2 * d + 2 * d * kv + 2 * kv
    feed_forward = 2 * d * ff + ff + d
    norm = 2 * d
    encoder = config.num_encoder_layers * (attention + feed_forward + 2 * norm)
    decoder = config.num_decoder_layers * (2 * attention + feed_forward + 3 * norm)
    final_norms = 2 * norm if config.norm_position == "pre" else 0
    matrices = 1 if config.tie_embeddings == "decoder" else 2
    tokens = (config.source_vocab_size + matrices * config.target_vocab_size) * d
    counted = sum(parameter.numel() for parameter in meta_model(config).parameters())
    assert counted == encoder + decoder + final_norms + tokens


@few
@given(configs, lengths, lengths)
def test_multiply_adds_follow_from_the_sizes_and_lengths(config, source, target):
    d, ff, kv = config.d_model, config.d_ff, config.kv_width
    encoder_layer = source * (2 * d * d + 2 * d * kv + 2 * d * ff) + 2 * source * source * d
    decoder_layer = (
        target * (4 * d * d + 2 * d * kv + 2 * d * ff)
        + source * 2 * d * kv  # keys and values of the source
        + 2 * target * (target + source) * d
    )
    project = target * d * config.target_vocab_size
    model = meta_model(config)
    ids = [torch.ones(1, length, dtype=torch.long, device="meta") for length in (source, target)]
    with FlopCounterMode(display=False) as counter:
        model(*ids)
    expected = (
        config.num_encoder_layers * encoder_layer
        + config.num_decoder_layers * decoder_layer
        + project
    )
    assert counter.get_total_flops() == 2 * expected  # torch counts both, we count pairs
