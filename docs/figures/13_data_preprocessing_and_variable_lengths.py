"""Padding in batches of dictionary entries: drawn at random, and sorted by length."""

from itertools import islice

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from scratchformer import params
from scratchformer.data.sources.cmudict import open_cmudict
from scratchformer.data.tokenized.batches import Batch, TokenBatches
from scratchformer.text.tokenizers import PAD_ID, train_tokenizer
from scratchformer.visualization.plots.style import BLUE, ORANGE

ROWS, EVERY = 12_000, 11  # every eleventh entry, so that all letters of the alphabet are there
NARROW = 256  # the budget of the two batches shown
BUDGETS = [64, 128, 256, 512, 1024, 2048, 4096]


def table() -> pa.Table:
    """Spelling and phonemes of `ROWS` entries, tokenized as the default track does it."""
    entries = [row.values for row in islice(open_cmudict("seq2seq").splits["train"](),
                                            0, ROWS * EVERY, EVERY)]  # fmt: skip
    columns = {"row": pa.array(range(len(entries)), pa.int32())}
    for side, algorithm in (("source", "character"), ("target", "word")):
        texts = [entry[side] for entry in entries]
        settings = params.Tokenizer(algorithm=algorithm, vocab_size=8000, lowercase=False)
        tokenizer = train_tokenizer(texts, settings)
        ids = [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]
        columns[side] = pa.array(ids, pa.list_(pa.int32()))
    return pa.table(columns)


def unsorted_batches(batches: TokenBatches, longest: np.ndarray, budget: int) -> list[Batch]:
    """The same rows in random order, cut where the next row would exceed the budget."""
    order = np.random.default_rng(0).permutation(len(longest))
    cuts, width = [0], 0
    for place, record in enumerate(order):
        width = max(width, int(longest[record]))
        if (place + 1 - cuts[-1]) * width > budget:
            cuts.append(place)
            width = int(longest[record])
    return [batches.collate(part) for part in np.split(order, cuts[1:])]


def padding(made: list[Batch]) -> float:
    """Share of the positions of both sides that hold padding."""
    blocks = [block for batch in made for block in (batch.source, batch.target)]
    return sum(int((block == PAD_ID).sum()) for block in blocks) / sum(b.size for b in blocks)


def show(ax: Axes, batch: Batch, title: str) -> None:
    """The source side: a row of the picture is a word."""
    rows, width = batch.source.shape
    ax.imshow(batch.source != PAD_ID, cmap=ListedColormap([ORANGE, BLUE]), vmin=0, vmax=1,
              aspect="auto", interpolation="nearest")  # fmt: skip
    ax.set_yticks(np.arange(0.5, rows), minor=True)
    ax.set_xticks(np.arange(0.5, width), minor=True)
    ax.set(title=title, xlabel="position", xticks=[0, 5, 10, 15], yticks=[])
    ax.set(xlim=(-0.5, 16.5), ylim=(40, -0.5))
    ax.grid(False)
    ax.grid(which="minor", color="white", linewidth=0.5)
    ax.tick_params(which="minor", length=0)


def draw() -> Figure:
    data = table()
    longest = np.maximum(*(data.column(side).combine_chunks().value_lengths().to_numpy()
                           for side in ("source", "target")))  # fmt: skip
    plain, buckets = [], []
    for budget in BUDGETS:
        batches = TokenBatches(data, budget, seed=0)
        made = unsorted_batches(batches, longest, budget)
        plain.append(padding(made))
        buckets.append(batches.padding_share)
        if budget == NARROW:
            examples = made[0], batches.batch(1)
    figure = Figure(figsize=(9.2, 3.2), layout="constrained")
    first, second, right = figure.subplots(1, 3, width_ratios=[1, 1, 1.7])
    show(first, examples[0], "a random batch")
    show(second, examples[1], "a batch by length")
    first.text(1, 38, f"{NARROW} positions at most", fontsize="small")
    first.set_ylabel("words of one batch")
    right.plot(BUDGETS, plain, "s--", color=ORANGE, label="random batches")
    right.plot(BUDGETS, buckets, "o-", color=BLUE, label="batches by length")
    right.set_xscale("log", base=2)
    right.set_xticks(BUDGETS, [str(budget) for budget in BUDGETS])
    right.set(ylim=(0, 0.6), xlabel="batch_tokens", title="share of positions that hold padding")
    right.legend()
    return figure
