"""What label smoothing asks for: the loss, and its gradient, of one token."""

import torch
from matplotlib.figure import Figure

from scratchformer.training.objectives.loss import smoothed_cross_entropy
from scratchformer.visualization.plots.style import BLUE, ORANGE, VERMILLION

VOCABULARY, TARGET = 43, 3  # as many as the dictionary's phonemes and special tokens
KINDS = ((0.0, BLUE, "-"), (0.1, ORANGE, "--"), (0.3, VERMILLION, ":"))
LOGITS = torch.tensor([0.5, 1.0, -1.0, 2.5, 0.0, 2.0])


def losses(ahead: torch.Tensor, smoothing: float) -> list[float]:
    """The loss when the right token's logit is `ahead` of all others, which are equal."""
    logits = torch.zeros(len(ahead), VOCABULARY)
    logits[:, TARGET] = ahead
    target = torch.tensor([TARGET])
    return [smoothed_cross_entropy(row[None], target, smoothing).item() for row in logits]


def gradient(smoothing: float) -> torch.Tensor:
    """Of the loss of one token, with respect to its logits."""
    logits = LOGITS[None].clone().requires_grad_()
    smoothed_cross_entropy(logits, torch.tensor([TARGET]), smoothing).backward()
    return logits.grad[0]


def draw() -> Figure:
    figure = Figure(figsize=(9.2, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    ahead = torch.linspace(-3, 14, 171)
    for smoothing, colour, style in KINDS:
        values = losses(ahead, smoothing)
        left.plot(ahead, values, style, color=colour, label=f"smoothing {smoothing:g}")
        if smoothing:
            lowest = min(range(len(values)), key=values.__getitem__)
            left.plot(ahead[lowest], values[lowest], "o", color=colour, markersize=6)
    left.set(xlabel="logit of the right token above all others", ylabel="loss, nats",
             ylim=(0, 7), title="how sure the model should be")  # fmt: skip
    left.legend()
    places = torch.arange(len(LOGITS))
    for shift, (smoothing, colour, _) in zip((-0.2, 0.2), KINDS[:2], strict=True):
        right.bar(places + shift, gradient(smoothing), 0.38, color=colour,
                  hatch="//" if smoothing else None, edgecolor="white",
                  label=f"smoothing {smoothing:g}")  # fmt: skip
    right.axhline(0, color="black", linewidth=0.8)
    names = [f"right: {p:.2f}" if place == TARGET else f"{p:.2f}"
             for place, p in enumerate(LOGITS.softmax(dim=0).tolist())]  # fmt: skip
    right.set_xticks(places, names)
    right.set(xlabel="probability that the model gives to each of six tokens",
              title="gradient with respect to the logits")  # fmt: skip
    right.legend()
    return figure
