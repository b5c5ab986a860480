"""Where the weights are, and where the work is: counted in our own models, by part."""

from typing import Any

import torch
from matplotlib.figure import Figure
from tests.committed import DEFAULT_PARAMS, ROOT
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from scratchformer.params import read_yaml
from scratchformer.transformer import Transformer, TransformerConfig
from scratchformer.transformer.encoder import EncoderLayer
from scratchformer.visualization.plots.style import BLUE, GREEN, GREY, ORANGE, VERMILLION

DEFAULT = dict(read_yaml(DEFAULT_PARAMS)["train_scratch"]["model"])
LESSON = DEFAULT | read_yaml(ROOT / "presets" / "lesson.yaml")["train_scratch"]["model"]


def named(name: str, sizes: dict[str, Any]) -> tuple[str, TransformerConfig]:
    """Of the default's vocabularies, 33 letters and 43 phonemes."""
    layers = f"{sizes['num_encoder_layers']} + {sizes['num_decoder_layers']}"
    label = f"{name}\n{layers}, d {sizes['d_model']}, d_ff {sizes['d_ff']}"
    return label, TransformerConfig(33, 43, **sizes)


MODELS = {
    **dict([named("the lesson", LESSON), named("params.yaml", DEFAULT)]),
    "the paper\n6 + 6, d 512, d_ff 2048\n37,000 pieces": TransformerConfig(37_000, 37_000),
}  # fmt: skip
PARTS = {
    "embeddings": GREY,
    "self-attention": BLUE,
    "cross-attention": GREEN,
    "feed-forward": ORANGE,
    "norms": VERMILLION,
}
LENGTHS = [2**power for power in range(4, 14)]


def part_of(name: str) -> str:
    for part in ("self-attention", "cross-attention", "feed-forward"):
        if f".{part.replace('-', '_')}." in name:
            return part
    return "embeddings" if name.startswith(("source_", "target_", "output")) else "norms"


def parameters(config: TransformerConfig) -> dict[str, int]:
    with torch.device("meta"):  # shapes without numbers
        model = Transformer(config)
    counts = dict.fromkeys(PARTS, 0)
    for name, parameter in model.named_parameters():
        counts[part_of(name)] += parameter.numel()
    return counts


def work(layer: nn.Module, length: int, d_model: int) -> tuple[float, float, float]:
    """Multiply-adds per token: projections of attention, weights and means, feed-forward."""
    with FlopCounterMode(display=False) as counter:
        layer(torch.empty(1, length, d_model, device="meta"), None)
    flops = counter.get_flop_counts()
    halves = {
        name: sum(flops[f"EncoderLayer.{name}"].values()) / 2 / length
        for name in ("self_attention.query_key_value", "self_attention.output", "self_attention",
                     "feed_forward")
    }  # fmt: skip
    projections = halves["self_attention.query_key_value"] + halves["self_attention.output"]
    return projections, halves["self_attention"] - projections, halves["feed_forward"]


def draw() -> Figure:
    figure = Figure(figsize=(9.2, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)

    counts = {name: parameters(config) for name, config in MODELS.items()}
    totals = {name: sum(each.values()) for name, each in counts.items()}
    start = [0.0] * len(MODELS)
    for part, colour in PARTS.items():
        shares = [counts[name][part] / totals[name] for name in MODELS]
        left.barh(range(len(MODELS)), shares, left=start, color=colour, label=part, height=0.62,
                  edgecolor="white")  # fmt: skip
        start = [before + share for before, share in zip(start, shares, strict=True)]
    for place, total in enumerate(totals.values()):
        number = f"{total / 1e6:.1f} M" if total >= 1e6 else f"{total / 1e3:.0f} k"
        left.text(1.02, place, number, va="center")
    left.set_yticks(range(len(MODELS)), list(MODELS))
    left.invert_yaxis()
    left.grid(False)
    left.set(xlim=(0, 1.16), xlabel="share of the parameters", title="where the weights are")
    left.set_xticks([0, 0.25, 0.5, 0.75, 1])
    left.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.45, -0.2), columnspacing=1)

    config = TransformerConfig(attention="explicit")  # torch does not count the fused kernel
    with torch.device("meta"):
        layer = EncoderLayer(config)
    rows = torch.tensor([work(layer, length, config.d_model) for length in LENGTHS]) / 1e6
    kinds = (("projections of Q, K, V, O", BLUE, "o-"), ("weights and their means", GREEN, "D:"),
             ("feed-forward", ORANGE, "s--"))  # fmt: skip
    for (label, colour, style), values in zip(kinds, rows.T, strict=True):
        right.plot(LENGTHS, values, style, color=colour, label=label, markersize=4)
    for place, label in ((2 * config.d_model, "2 d"), (config.d_ff, "d_ff")):
        right.axvline(place, color=GREY, linewidth=0.8)
        right.text(place * 1.06, 5, label, color="black")
    right.set_xscale("log", base=2)
    right.set_xticks(LENGTHS[::2], [f"{length:,}" for length in LENGTHS[::2]])
    right.set(xlabel="tokens of the sequence", ylabel="million multiply-adds per token",
              title="where the work is: encoder layer, d 512")  # fmt: skip
    right.legend()
    return figure
