"""Blocks and models equal those of torch.nn with the same weights: outputs and every gradient.

In float64, where rounding is 1e-16 and anything above 1e-10 is another formula.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scratchformer.transformer import (
    DecoderOnly,
    EncoderClassifier,
    Transformer,
    TransformerConfig,
    collect_attention,
)
from scratchformer.transformer.attention import CrossAttention, SelfAttention
from scratchformer.transformer.decoder import DecoderLayer
from scratchformer.transformer.encoder import Encoder, EncoderLayer
from scratchformer.transformer.masks import as_bias, causal_mask, padding_mask

BOUND = 1e-10
D, HEADS, D_FF, VOCAB = 24, 3, 40, 17
Pairs = list[tuple[list[Tensor], Tensor]]  # our tensors, which side by side are their tensor

MASKS = ["none", "padding", "causal", "both"]
NORMS = ["pre", "post"]
PATHS = ["fused", "explicit"]


def configuration(**changes: object) -> TransformerConfig:
    settings: dict[str, object] = {
        "source_vocab_size": VOCAB, "target_vocab_size": VOCAB, "d_model": D, "num_heads": HEADS,
        "d_ff": D_FF, "num_encoder_layers": 2, "num_decoder_layers": 2, "dropout": 0.0,
        "max_length": 32,
    }  # fmt: skip
    return TransformerConfig(**(settings | changes))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def double() -> object:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def shake(module: nn.Module) -> None:
    """Replace ones and zeros: a gain or bias that is never used must not go unnoticed."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)


def attention_pairs(ours: SelfAttention | CrossAttention, theirs: nn.MultiheadAttention) -> Pairs:
    if isinstance(ours, SelfAttention):
        projections = [ours.query_key_value]
    else:
        projections = [ours.query, ours.key_value]
    return [
        ([p.weight for p in projections], theirs.in_proj_weight),
        ([p.bias for p in projections], theirs.in_proj_bias),
        ([ours.output.weight], theirs.out_proj.weight),
        ([ours.output.bias], theirs.out_proj.bias),
    ]


def norm_pairs(ours: nn.Module, theirs: nn.LayerNorm) -> Pairs:
    return [([ours.gain], theirs.weight), ([ours.bias], theirs.bias)]


def layer_pairs(ours: nn.Module, theirs: nn.Module) -> Pairs:
    pairs = attention_pairs(ours.self_attention, theirs.self_attn)
    norms = [ours.around_self_attention.norm]
    if isinstance(ours, DecoderLayer):
        pairs += attention_pairs(ours.cross_attention, theirs.multihead_attn)
        norms.append(ours.around_cross_attention.norm)
    norms.append(ours.around_feed_forward.norm)
    for number, norm in enumerate(norms, start=1):
        pairs += norm_pairs(norm, getattr(theirs, f"norm{number}"))
    for mine, other in ((ours.feed_forward.inner, theirs.linear1),
                        (ours.feed_forward.outer, theirs.linear2)):  # fmt: skip
        pairs += [([mine.weight], other.weight), ([mine.bias], other.bias)]
    return pairs


def stack_pairs(ours: nn.Module, theirs: nn.Module) -> Pairs:
    pairs = []
    for mine, other in zip(ours.layers, theirs.layers, strict=True):
        pairs += layer_pairs(mine, other)
    if theirs.norm is not None:
        pairs += norm_pairs(ours.final_norm, theirs.norm)
    return pairs


def copy(pairs: Pairs, ours: nn.Module) -> None:
    """Give their module our weights, after shaking ours; every weight of ours must be named."""
    shake(ours)
    named = {id(tensor) for mine, _ in pairs for tensor in mine}
    assert named == {id(parameter) for parameter in ours.parameters()}
    with torch.no_grad():
        for mine, other in pairs:
            other.copy_(torch.cat(mine))


def compare(agree, kind: str, ours: Tensor, theirs: Tensor, inputs: Pairs, weights: Pairs) -> None:
    """Outputs, then the gradients of one random linear function of them."""
    agree(f"{kind}: outputs", ours, theirs, BOUND)
    direction = torch.randn_like(theirs)
    (ours * direction).sum().backward()
    (theirs * direction).sum().backward()
    for mine, other in inputs + weights:
        assert other.grad.abs().max() > 0 or other.grad.numel() == 0
        agree(f"{kind}: gradients", torch.cat([t.grad for t in mine]), other.grad, BOUND)


def twins(*shape: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(*shape)
    return x.clone().requires_grad_(), x.clone().requires_grad_()


def tokens(batch: int, length: int) -> Tensor:
    """Random tokens, rows of different lengths, filled up with 0."""
    ids = torch.randint(3, VOCAB, (batch, length))
    for row in range(1, batch):
        ids[row, length - row :] = 0
    return ids


def masks_of(name: str, ids: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Our bias; torch's attn_mask and key_padding_mask, which are True where hidden."""
    length = ids.shape[1]
    padding = padding_mask(ids, 0) if name in ("padding", "both") else None
    causal = causal_mask(length, length) if name in ("causal", "both") else None
    chosen = [mask for mask in (padding, causal) if mask is not None]
    ours = None
    if chosen:
        both = chosen[0] if len(chosen) == 1 else chosen[0] & chosen[1]
        ours = as_bias(both, torch.float64)
    future = torch.triu(torch.ones(length, length, dtype=torch.bool), diagonal=1)
    return ours, future if causal is not None else None, ids == 0 if padding is not None else None


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("path", PATHS)
def test_self_attention(agree, mask, path):
    ours = SelfAttention(configuration(attention=path))
    theirs = nn.MultiheadAttention(D, HEADS, batch_first=True)
    pairs = attention_pairs(ours, theirs)
    copy(pairs, ours)
    x, y = twins(4, 7, D)
    bias, future, padded = masks_of(mask, tokens(4, 7))
    seen: list[Tensor] = []
    if path == "explicit":
        ours.on_weights = seen.append
    expected, weights = theirs(y, y, y, padded, True, future, average_attn_weights=False)
    compare(agree, "self-attention", ours(x, bias), expected, [([x], y)], pairs)
    if path == "explicit":
        agree("self-attention: maps", seen[0], weights, BOUND)


@pytest.mark.parametrize("kv_heads", [1, 2, 3, 6])
@pytest.mark.parametrize("path", PATHS)
def test_grouped_query_attention(agree, path, kv_heads):
    """Against torch's own kernel for groups: outputs, and the gradients of all weights."""
    config = configuration(num_heads=6, num_kv_heads=kv_heads, attention=path)
    for ours in (SelfAttention(config), CrossAttention(config)):
        shake(ours)
        (x, y), (memory, other_memory) = twins(4, 7, D), twins(4, 7, D)
        theirs = {name: p.detach().clone().requires_grad_() for name, p in ours.named_parameters()}
        if isinstance(ours, SelfAttention):
            bias, _, _ = masks_of("both", tokens(4, 7))
            output, inputs = ours(x, bias), [([x], y)]
            joint = F.linear(y, theirs["query_key_value.weight"], theirs["query_key_value.bias"])
            query, key, value = joint.split([D, 4 * kv_heads, 4 * kv_heads], dim=-1)
        else:
            bias, _, _ = masks_of("padding", tokens(4, 7))
            output = ours(x, *ours.keys_and_values(memory), bias)
            inputs = [([x], y), ([memory], other_memory)]
            query = F.linear(y, theirs["query.weight"], theirs["query.bias"])
            joint = F.linear(other_memory, theirs["key_value.weight"], theirs["key_value.bias"])
            key, value = joint.split([4 * kv_heads, 4 * kv_heads], dim=-1)
        query, key, value = (
            part.unflatten(-1, (-1, 4)).transpose(1, 2) for part in (query, key, value)
        )
        assert key.shape[1] == kv_heads
        heads = F.scaled_dot_product_attention(query, key, value, bias, enable_gqa=True)
        expected = F.linear(
            heads.transpose(1, 2).flatten(2), theirs["output.weight"], theirs["output.bias"]
        )
        weights = [([p], theirs[name]) for name, p in ours.named_parameters()]
        compare(agree, "grouped-query attention", output, expected, inputs, weights)


def test_fewer_heads_of_keys_make_a_smaller_cache():
    """What grouped queries are for; half the heads, half the numbers."""
    sizes = []
    for kv_heads in (6, 3):
        model = DecoderOnly(configuration(num_heads=6, num_kv_heads=kv_heads)).eval()
        caches = model.new_caches()
        model.decode_hidden(tokens(2, 5), caches)
        sizes.append(sum(cache.keys.numel() + cache.values.numel() for cache in caches))
    assert sizes[1] * 2 == sizes[0] == 2 * 2 * 2 * 5 * D


@pytest.mark.parametrize("mask", ["none", "padding"])
@pytest.mark.parametrize("path", PATHS)
def test_cross_attention(agree, mask, path):
    ours = CrossAttention(configuration(attention=path))
    theirs = nn.MultiheadAttention(D, HEADS, batch_first=True)
    pairs = attention_pairs(ours, theirs)
    copy(pairs, ours)
    (x, y), (memory, other_memory) = twins(4, 5, D), twins(4, 7, D)
    bias, _, padded = masks_of(mask, tokens(4, 7))
    output = ours(x, *ours.keys_and_values(memory), bias)
    expected, _ = theirs(y, other_memory, other_memory, padded)
    compare(
        agree, "cross-attention", output, expected, [([x], y), ([memory], other_memory)], pairs
    )


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_encoder_layer(agree, mask, norm, activation):
    ours = EncoderLayer(configuration(norm_position=norm, activation=activation))
    theirs = nn.TransformerEncoderLayer(
        D, HEADS, D_FF, 0.0, activation, batch_first=True, norm_first=norm == "pre"
    )
    pairs = layer_pairs(ours, theirs)
    copy(pairs, ours)
    x, y = twins(4, 7, D)
    bias, future, padded = masks_of(mask, tokens(4, 7))
    expected = theirs(y, src_mask=future, src_key_padding_mask=padded)
    compare(agree, "encoder layer", ours(x, bias), expected, [([x], y)], pairs)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("source_mask", ["none", "padding"])
@pytest.mark.parametrize("norm", NORMS)
def test_decoder_layer(agree, mask, source_mask, norm):
    ours = DecoderLayer(configuration(norm_position=norm))
    theirs = nn.TransformerDecoderLayer(
        D, HEADS, D_FF, 0.0, batch_first=True, norm_first=norm == "pre"
    )
    pairs = layer_pairs(ours, theirs)
    copy(pairs, ours)
    (x, y), (memory, other_memory) = twins(4, 5, D), twins(4, 7, D)
    bias, future, padded = masks_of(mask, tokens(4, 5))
    source_bias, _, source_padded = masks_of(source_mask, tokens(4, 7))
    output = ours(x, bias, ours.cross_attention.keys_and_values(memory), source_bias)
    expected = theirs(
        y,
        other_memory,
        tgt_mask=future,
        tgt_key_padding_mask=padded,
        memory_key_padding_mask=source_padded,
    )
    compare(agree, "decoder layer", output, expected, [([x], y), ([memory], other_memory)], pairs)


def torch_embedding(ours: nn.Module, table: Tensor, ids: Tensor) -> Tensor:
    """§3.4 and §3.5 written down once more, on a copy of our embedding matrix."""
    return table[ids] * math.sqrt(D) + ours.positions.table[: ids.shape[1]]


def torch_encoder(layers: int, norm: str) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(
        D, HEADS, D_FF, 0.0, batch_first=True, norm_first=norm == "pre"
    )
    final = nn.LayerNorm(D) if norm == "pre" else None
    return nn.TransformerEncoder(layer, layers, final, enable_nested_tensor=False)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("tie", ["none", "decoder", "all"])
def test_transformer(agree, norm, path, tie):
    """The whole model, from token numbers to the gradient of the loss."""
    ours = Transformer(configuration(norm_position=norm, attention=path, tie_embeddings=tie))
    decoder = nn.TransformerDecoder(
        nn.TransformerDecoderLayer(
            D, HEADS, D_FF, 0.0, batch_first=True, norm_first=norm == "pre"
        ),
        2,
        nn.LayerNorm(D) if norm == "pre" else None,
    )
    theirs = nn.Transformer(
        D, HEADS, 2, 2, D_FF, 0.0,
        custom_encoder=torch_encoder(2, norm), custom_decoder=decoder, batch_first=True,
    )  # fmt: skip
    weights = stack_pairs(ours.encoder, theirs.encoder) + stack_pairs(ours.decoder, theirs.decoder)
    # One matrix of theirs for each distinct matrix of ours: that is what tying means.
    matrices = {
        id(matrix): (matrix, nn.Parameter(torch.empty_like(matrix)))
        for matrix in (
            ours.source_embedding.tokens.weight,
            ours.target_embedding.tokens.weight,
            ours.output.weight,
        )
    }
    assert len(matrices) == {"none": 3, "decoder": 2, "all": 1}[tie]
    copy(weights + [([mine], other) for mine, other in matrices.values()], ours)

    source, target = tokens(4, 7), tokens(4, 6)
    target_input = torch.cat([torch.full((4, 1), 1), target[:, :-1]], dim=1)
    other = {key: theirs_matrix for key, (_, theirs_matrix) in matrices.items()}
    expected = theirs(
        torch_embedding(
            ours.source_embedding, other[id(ours.source_embedding.tokens.weight)], source
        ),
        torch_embedding(
            ours.target_embedding, other[id(ours.target_embedding.tokens.weight)], target_input
        ),
        tgt_mask=torch.triu(torch.ones(6, 6, dtype=torch.bool), diagonal=1),
        src_key_padding_mask=source == 0,
        tgt_key_padding_mask=target_input == 0,
        memory_key_padding_mask=source == 0,
    )
    expected = expected @ other[id(ours.output.weight)].T
    output = ours(source, target_input)
    agree("transformer: logits", output, expected, BOUND)

    for logits in (output, expected):
        nn.functional.cross_entropy(logits.transpose(1, 2), target, ignore_index=0).backward()
    for mine, theirs_tensor in weights:
        gradient = torch.cat([tensor.grad for tensor in mine])
        agree("transformer: gradients of the loss", gradient, theirs_tensor.grad, BOUND)
    for mine, theirs_matrix in matrices.values():
        agree("transformer: gradients of the loss", mine.grad, theirs_matrix.grad, BOUND)


@pytest.mark.parametrize("norm", NORMS)
def test_decoder_only(agree, norm):
    ours = DecoderOnly(configuration(norm_position=norm))
    theirs = torch_encoder(2, norm)
    table = nn.Parameter(torch.empty(VOCAB, D))
    weights = stack_pairs(ours.decoder, theirs)
    weights.append(([ours.target_embedding.tokens.weight], table))
    copy(weights, ours)
    ids = tokens(4, 7)
    future = torch.triu(torch.ones(7, 7, dtype=torch.bool), diagonal=1)
    hidden = theirs(
        torch_embedding(ours.target_embedding, table, ids), future, src_key_padding_mask=ids == 0
    )
    compare(agree, "decoder-only", ours(ids), hidden @ table.T, [], weights)


@pytest.mark.parametrize("norm", NORMS)
def test_classifier(agree, norm):
    ours = EncoderClassifier(configuration(norm_position=norm, num_labels=5))
    theirs, head = torch_encoder(2, norm), nn.Linear(D, 5)
    table = nn.Parameter(torch.empty(VOCAB, D))
    weights = stack_pairs(ours.encoder, theirs)
    weights += [
        ([ours.source_embedding.tokens.weight], table),
        ([ours.output.weight], head.weight),
        ([ours.output.bias], head.bias),
    ]
    copy(weights, ours)
    ids = tokens(4, 7)
    hidden = theirs(
        torch_embedding(ours.source_embedding, table, ids), src_key_padding_mask=ids == 0
    )
    lengths = (ids != 0).sum(dim=1)
    means = [row[:length].mean(dim=0) for row, length in zip(hidden, lengths, strict=True)]
    compare(agree, "classifier", ours(ids), head(torch.stack(means)), [], weights)


def test_a_stack_without_a_final_norm_would_be_noticed(agree):
    """The comparison itself can fail: a torch encoder with one norm fewer is not ours."""
    ours, theirs = Encoder(configuration(norm_position="pre"), 2), torch_encoder(2, "pre")
    copy(stack_pairs(ours, theirs), ours)
    theirs.norm = None
    x = torch.randn(2, 5, D)
    assert (ours(x, None) - theirs(x)).abs().max() > 0.01


def test_maps_of_a_model_are_those_its_layers_used(agree):
    """Every kind and layer: recomputed from torch's attention on the same inputs."""
    ours = Transformer(configuration())
    shake(ours)
    inputs: dict[int, tuple[Tensor, ...]] = {}

    def remember(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        inputs[id(module)] = arguments

    attentions = {
        "encoder": [layer.self_attention for layer in ours.encoder.layers],
        "decoder": [layer.self_attention for layer in ours.decoder.layers],
        "cross": [layer.cross_attention for layer in ours.decoder.layers],
    }
    for kind in attentions.values():
        for module in kind:
            module.register_forward_pre_hook(remember)
    source, target = tokens(3, 7), tokens(3, 5)
    with collect_attention(ours) as maps:
        ours(source, target)
        memory = ours.encode(source).hidden
    for kind, modules in attentions.items():
        collected = getattr(maps, kind)
        assert len(collected) == len(modules) == 2
        for module, weights in zip(modules, collected, strict=True):
            theirs = nn.MultiheadAttention(D, HEADS, batch_first=True)
            pairs = attention_pairs(module, theirs)
            with torch.no_grad():
                for mine, other in pairs:
                    other.copy_(torch.cat(mine))
            x = inputs[id(module)][0]
            keys = memory if kind == "cross" else x
            ids = target if kind == "decoder" else source
            length = ids.shape[1]
            future = torch.triu(torch.ones(length, length, dtype=torch.bool), diagonal=1)
            _, expected = theirs(
                x, keys, keys, ids == 0, True, future if kind == "decoder" else None,
                average_attn_weights=False,
            )  # fmt: skip
            agree("maps of the whole model", weights, expected, BOUND)
