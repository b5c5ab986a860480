"""Two checks before any training: the first loss is ln V, and one batch can be learned by heart."""

import math
from unittest import mock

import torch
from matplotlib.figure import Figure
from reverser import FIRST_LETTER, LETTERS, words
from torch import Tensor, nn

from scratchformer.params.optimizers import AdamOptimizer
from scratchformer.training.optimizers.optimizer import make_optimizer
from scratchformer.transformer import Transformer, TransformerConfig
from scratchformer.transformer import model as book
from scratchformer.visualization.plots.style import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILLION

VOCABULARIES = [10, 30, 100, 300, 1000, 3000, 10_000]
ROWS, UPDATES = 16, 100


def loss_of(model: Transformer, source: Tensor, target: Tensor) -> Tensor:
    begin = target.new_full((len(target), 1), model.config.bos_id)
    logits = model(source, torch.cat([begin, target[:, :-1]], dim=1))
    return nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=0)


def small_model(vocabulary: int) -> Transformer:
    torch.manual_seed(0)
    return Transformer(
        TransformerConfig(vocabulary, vocabulary, 64, 4, 128, 2, 2, dropout=0.0,
                          norm_position="pre", tie_embeddings="decoder")
    )  # fmt: skip


@torch.no_grad()
def first_loss(vocabulary: int, spread: float | None) -> float:
    """Of random targets; embeddings redrawn from N(0, spread²) unless it is None."""
    model = small_model(vocabulary)
    if spread is not None:
        nn.init.normal_(model.target_embedding.tokens.weight, std=spread)
    source, target = torch.randint(FIRST_LETTER, vocabulary, (2, 32, 12))
    return float(loss_of(model, source, target))


def losses_of_one_batch(*, reads: bool = True, leak: int = 0, rate: float = 0.003) -> list[float]:
    """Trained on nothing else. A bug: the source is not read; or `leak` future tokens are seen."""
    model = small_model(FIRST_LETTER + LETTERS)
    source, target = words(ROWS, torch.Generator().manual_seed(0))
    optimizer = make_optimizer(model, AdamOptimizer(kind="adamw", learning_rate=rate))
    for group in optimizer.param_groups:
        group["lr"] = rate

    def leaking_mask(queries: int, keys: int, device: torch.device | None = None) -> Tensor:
        seen = torch.ones(queries, keys, dtype=torch.bool, device=device)
        return seen.tril(keys - queries + leak)[None, None]

    losses = []
    with mock.patch.object(book, "causal_mask", leaking_mask):
        for _ in range(UPDATES):
            loss = loss_of(model, source if reads else torch.full_like(source, 5), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


def draw() -> Figure:
    figure = Figure(figsize=(9.2, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for label, spread, colour, style in (
        ("embeddings from N(0, 1)", 1.0, VERMILLION, "^:"),
        ("ours: N(0, 1/d)", None, BLUE, "o-"),
        ("N(0, 0.02²)", 0.02, GREEN, "s--"),
    ):
        losses = [first_loss(vocabulary, spread) for vocabulary in VOCABULARIES]
        left.plot(VOCABULARIES, losses, style, color=colour, label=label, markersize=4)
    left.plot(VOCABULARIES, [math.log(v) for v in VOCABULARIES], color=BLACK, linewidth=1,
              label="ln V")  # fmt: skip
    left.set_xscale("log")
    left.set_xticks([10, 100, 1000, 10_000], ["10", "100", "1,000", "10,000"])
    left.set_yscale("log")
    left.set_yticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
    left.minorticks_off()
    left.set(xlabel="V, pieces of the vocabulary", ylabel="loss", ylim=(2, 150),
             title="before the first update")  # fmt: skip
    left.legend(loc="upper left", ncols=2)

    target = words(ROWS, torch.Generator().manual_seed(0))[1]
    floor = ROWS * math.log(ROWS) / int((target != 0).sum())  # which row is this? then no doubt
    right.axhline(floor, color=GREY, linestyle=":", linewidth=1, label="the least without a source")
    for label, bug, colour, style in (
        ("rate 100 times too high", {"rate": 0.3}, VERMILLION, ":"),
        ("source not read", {"reads": False}, ORANGE, "--"),
        ("right", {}, BLUE, "-"),
        ("sees the next token", {"leak": 1}, GREEN, "-."),
    ):
        losses = losses_of_one_batch(**bug)
        right.plot(range(1, UPDATES + 1), losses, style, color=colour, label=label)
    right.set(xlabel="update", ylabel="loss", ylim=(0, 5), title=f"one batch of {ROWS} words")
    right.legend(loc="upper right")
    return figure
