"""The learning rate over a training, and what decay does to a weight in Adam's two ways."""

import torch
from matplotlib.figure import Figure
from tests.committed import DEFAULT_PARAMS
from torch import nn

from scratchformer.params import read_yaml
from scratchformer.params.optimizers import AdamOptimizer
from scratchformer.training.optimizers.optimizer import make_optimizer
from scratchformer.training.schedule import learning_rate
from scratchformer.visualization.plots.style import BLUE, GREEN, ORANGE, VERMILLION

SCHEDULES = (
    ("inverse_sqrt", ORANGE, "--"), ("cosine", BLUE, "-"),
    ("linear", GREEN, "-."), ("constant", VERMILLION, ":"),
)  # fmt: skip
DEFAULT = read_yaml(DEFAULT_PARAMS)["train_scratch"]
WARMUP, UPDATES = DEFAULT["warmup_steps"], DEFAULT["max_steps"]
DECAY, RATE = 0.5, 0.01


def shrinking(decoupled: bool, size: float) -> list[float]:
    """A weight that starts at 1 and gets noise of this size as its gradient, update by update."""
    torch.manual_seed(0)
    model = nn.Linear(512, 1, bias=False)  # the mean of 512 such weights
    nn.init.ones_(model.weight)
    settings = AdamOptimizer(kind="adamw", learning_rate=RATE, weight_decay=DECAY)
    optimizer = make_optimizer(model, settings)
    if not decoupled:
        optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98), weight_decay=DECAY)
    for group in optimizer.param_groups:
        group["lr"] = RATE
    means = []
    for _ in range(300):
        means.append(model.weight.mean().item())
        model.weight.grad = size * torch.randn_like(model.weight)
        optimizer.step()
    return means


def draw() -> Figure:
    figure = Figure(figsize=(9.2, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = range(1, UPDATES + 1)
    for name, colour, style in SCHEDULES:
        rates = [learning_rate(step, name, 1.0, WARMUP, UPDATES) for step in steps]
        left.plot(steps, rates, style, color=colour, label=name)
    left.set(xlabel="update", ylabel="learning rate / peak", ylim=(0, 1.05),
             title=f"schedules, warm-up of {WARMUP} updates")  # fmt: skip
    left.legend(loc="lower left", bbox_to_anchor=(0.1, 0.05))
    for size, colour in ((0.1, ORANGE), (10.0, BLUE)):
        for decoupled, style in ((True, "-" if size < 1 else "--"), (False, ":")):
            way = "AdamW" if decoupled else "L2 in the loss"
            right.plot(shrinking(decoupled, size), style, color=colour,
                       label=f"{way}, noise {size:g}")  # fmt: skip
    right.set(xlabel="update", ylabel="mean weight", ylim=(0, 1.35),
              title="decay of weights under gradients of pure noise")  # fmt: skip
    right.set_yticks([0, 0.25, 0.5, 0.75, 1])
    right.legend(ncols=2, loc="upper center")
    return figure
