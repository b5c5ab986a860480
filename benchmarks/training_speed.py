"""How fast is a training step, beside torch.nn.Transformer of the same size on the same batches?

    python benchmarks/training_speed.py [--vocabulary 8000] [--batch-tokens 1750] [--repeats 7]

Both models do whole updates: forward, smoothed cross-entropy, backward, clipping, fused AdamW.
They take turns, a block of updates each, so that a busy machine slows both down alike; the ratio
is the median over the turns. The texts are random ids with the lengths of dictionary words.
`cpu` counts the time of all threads: it is steadier than `wall` where others use the machine too.
"""

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scratchformer.checkpoints.checkpoint import Checkpoints
from scratchformer.data.tokenized.batches import Batch, TokenBatches
from scratchformer.params import TrainScratch, load_params
from scratchformer.training.build import build_objective
from scratchformer.training.loop import Training

UPDATES_IN_TURN = 6


class TorchTransformer(nn.Module):
    """torch.nn.Transformer with what it leaves out: embeddings, positions, tied output."""

    def __init__(self, settings: TrainScratch, vocabulary: int) -> None:
        super().__init__()
        model = settings.model
        self.source = nn.Embedding(vocabulary, model.d_model)
        self.target = nn.Embedding(vocabulary, model.d_model)
        self.positions = nn.Parameter(torch.randn(64, model.d_model) / 10, requires_grad=False)
        self.dropout = nn.Dropout(model.dropout)
        self.transformer = nn.Transformer(
            model.d_model,
            model.num_heads,
            model.num_encoder_layers,
            model.num_decoder_layers,
            model.d_ff,
            model.dropout,
            batch_first=True,
            norm_first=model.norm_position == "pre",
        )
        for embedding in (self.source, self.target):
            nn.init.normal_(embedding.weight, std=model.d_model**-0.5)
        self.scale = math.sqrt(model.d_model)

    def embed(self, embedding: nn.Embedding, ids: Tensor) -> Tensor:
        return self.dropout(embedding(ids) * self.scale + self.positions[: ids.shape[1]])

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        hidden = self.transformer(
            self.embed(self.source, source),
            self.embed(self.target, target),
            tgt_mask=nn.Transformer.generate_square_subsequent_mask(target.shape[1]),
            src_key_padding_mask=source == 0,
            memory_key_padding_mask=source == 0,
            tgt_is_causal=True,
        )
        return hidden @ self.target.weight.T


def torch_updates(
    settings: TrainScratch, vocabulary: int, batches: TokenBatches
) -> Callable[[int], int]:
    """A function that does update number i and returns its target tokens."""
    model = TorchTransformer(settings, vocabulary).train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)

    def update(index: int) -> int:
        batch: Batch = batches.batch(index)
        target = torch.from_numpy(batch.target)
        begin = torch.cat([torch.ones_like(target[:, :1]), target[:, :-1]], dim=1)
        logits = model(torch.from_numpy(batch.source), begin)
        loss = F.cross_entropy(
            logits.flatten(0, 1),
            target.flatten(),
            ignore_index=0,
            label_smoothing=settings.label_smoothing,
        )
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, settings.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        return batch.tokens

    return update


def our_updates(
    settings: TrainScratch,
    vocabulary: int,
    batches: TokenBatches,
    valid: TokenBatches,
    folder: Path,
) -> Callable[[int], int]:
    info = {"task": "seq2seq", "source_vocab_size": vocabulary, "target_vocab_size": vocabulary,
            "max_source_length": 64, "max_target_length": 64}  # fmt: skip
    objective = build_objective(settings, info, valid, seed=0)
    training = Training(objective, batches, settings, 0, Checkpoints(folder))
    training.model.train()

    def update(index: int) -> int:
        before = training.state.tokens
        training.state.step = index
        training.update()
        return training.state.tokens - before

    return update


def words(rows: int, vocabulary: int) -> pa.Table:
    """Random ids; a word has 8.5 letters on average, its answer 7.4 tokens, ends included."""
    random = np.random.default_rng(0)
    column = {}
    for name, mean in (("source", 8.5), ("target", 7.4)):
        lengths = np.clip(np.rint(random.normal(mean, 2.3, rows)), 2, 24).astype(int)
        ids = [[*random.integers(4, vocabulary, n - 1).tolist(), 2] for n in lengths]
        column[name] = pa.array(ids, pa.list_(pa.int32()))
    return pa.table({"row": pa.array(range(rows), pa.int32()), **column})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vocabulary", type=int, default=43)
    parser.add_argument("--batch-tokens", type=int, help="default: that of params.yaml")
    parser.add_argument("--dropout", type=float, help="default: that of params.yaml")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings = load_params().train_scratch
    changes = {"accumulate": 1}
    if arguments.batch_tokens:
        changes["batch_tokens"] = arguments.batch_tokens
    model = settings.model
    if arguments.dropout is not None:
        model = model.model_copy(update={"dropout": arguments.dropout})
    settings = settings.model_copy(update={**changes, "model": model})
    batches = TokenBatches(words(40_000, arguments.vocabulary), settings.batch_tokens, seed=0)
    valid = TokenBatches(words(10, arguments.vocabulary), settings.batch_tokens, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        sides = {
            "torch.nn.Transformer": torch_updates(settings, arguments.vocabulary, batches),
            "this project": our_updates(
                settings, arguments.vocabulary, batches, valid, Path(folder)
            ),
        }
        speeds = measure(sides, arguments.repeats)
    print(f"batch of {settings.batch_tokens} positions, vocabulary {arguments.vocabulary}, "
          f"dropout {model.dropout}, padding {batches.padding_share:.1%}, "
          f"{arguments.threads} threads")  # fmt: skip
    print(f"{'target tokens a second':24}{'wall':>10}{'cpu':>10}")
    for name, rows in speeds.items():
        wall, cpu = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"{name:24}{wall:10,.0f}{cpu:10,.0f}")
    theirs, ours = speeds.values()
    ratios = [
        statistics.median(a[i] / b[i] for a, b in zip(ours, theirs, strict=True)) for i in (0, 1)
    ]
    print(f"{'ratio':24}{ratios[0]:10.2f}{ratios[1]:10.2f}")


def measure(
    sides: dict[str, Callable[[int], int]], repeats: int
) -> dict[str, list[tuple[float, float]]]:
    """name → (tokens per second of wall time, of CPU time) of each turn but the first."""
    speeds: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for turn in range(repeats + 1):
        for name, update in sides.items():
            wall, cpu = time.perf_counter(), time.process_time()
            tokens = sum(update(turn * UPDATES_IN_TURN + i) for i in range(UPDATES_IN_TURN))
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if turn:
                speeds[name].append((tokens / wall, tokens / cpu))
    return speeds


if __name__ == "__main__":
    main()
