"""What the residual connection keeps alive in a deep untrained model: gradients, differences."""

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from scratchformer.transformer import Transformer, TransformerConfig
from scratchformer.transformer.residual import Residual
from scratchformer.visualization.plots.style import BLUE, ORANGE, VERMILLION

LAYERS, WIDTH, VOCAB, SEEDS = 12, 64, 50, 3


class NoResidual(nn.Module):
    """What is left of a post-norm residual block when x is not added."""

    def __init__(self, block: Residual) -> None:
        super().__init__()
        self.norm = block.norm

    def forward(self, x: Tensor, sublayer: nn.Module) -> Tensor:
        return self.norm(sublayer(x))


def deep_model(norm_position: str, residual: bool) -> Transformer:
    config = TransformerConfig(VOCAB, VOCAB, WIDTH, 4, 2 * WIDTH, LAYERS, LAYERS, dropout=0.0,
                               norm_position=norm_position)  # fmt: skip
    model = Transformer(config)
    for layer in [*model.encoder.layers, *model.decoder.layers]:
        for name, child in list(layer.named_children()):
            if isinstance(child, Residual) and not residual:
                setattr(layer, name, NoResidual(child))
    return model


def look_inside(norm_position: str, residual: bool, seed: int) -> tuple[Tensor, Tensor]:
    """Per layer: gradient norm of W2 in the decoder; cosine between positions in the encoder."""
    torch.manual_seed(seed)
    model = deep_model(norm_position, residual)
    source, target, wanted = torch.randint(3, VOCAB, (3, 8, 12))
    alike: list[Tensor] = []
    for layer in model.encoder.layers:
        layer.register_forward_hook(lambda _, __, output: alike.append(similarity(output)))
    logits = model(source, target)
    nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten()).backward()
    gradients = [layer.feed_forward.outer.weight.grad.norm() for layer in model.decoder.layers]
    return torch.stack(gradients), torch.stack(alike)


def similarity(x: Tensor) -> Tensor:
    """Mean cosine of two different positions of a sequence."""
    directions = nn.functional.normalize(x.detach(), dim=-1)
    cosines = directions @ directions.transpose(1, 2)
    length = x.shape[1]
    return (cosines.sum(dim=(1, 2)) - length).mean() / (length * (length - 1))


def draw() -> Figure:
    kinds = (
        ("pre-norm", "pre", True, BLUE, "o-"),
        ("post-norm", "post", True, ORANGE, "s--"),
        ("no residual", "post", False, VERMILLION, "^:"),
    )
    figure = Figure(figsize=(9.2, 3.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    layers = range(1, LAYERS + 1)
    for label, position, residual, colour, style in kinds:
        runs = [look_inside(position, residual, seed) for seed in range(SEEDS)]
        for ax, values in zip((left, right), zip(*runs, strict=True), strict=True):
            each = torch.stack(values)
            ax.plot(layers, each.mean(dim=0), style, color=colour, label=label, markersize=4)
            ax.fill_between(layers, each.amin(dim=0), each.amax(dim=0), color=colour, alpha=0.2)
    left.set_yscale("log")
    left.set_yticks([1e-6, 1e-4, 0.01, 1], ["0.000001", "0.0001", "0.01", "1"])
    left.set(xlabel="decoder layer, first to last", title="gradient norm of W2", ylim=(1e-7, 5))
    right.set(xlabel="encoder layer, first to last", title="cosine between two positions",
              ylim=(0, 1.05))  # fmt: skip
    left.legend()
    return figure
