"""How long does an optimizer take, beside forward and backward of the same update?

    python benchmarks/optimizer_step.py [--preset lesson] [--repeats 30]

The model of params.yaml, or of a preset, with each optimizer on batches of random words; one
thread, milliseconds of CPU, medians.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import TypeAdapter
from turns import machine_line

from scratchformer.data.tokenized.batches import TokenBatches
from scratchformer.params import OptimizerSettings, TrainScratch, load_params
from scratchformer.params.presets import apply_preset
from scratchformer.runtime.device import open_machine
from scratchformer.training.build import build_objective
from scratchformer.training.optimizers.optimizer import make_optimizer, set_learning_rate

ROOT = Path(__file__).parents[1]
VOCABULARY = 43  # of the phonemes
CHOICES: tuple[dict[str, Any], ...] = (
    {"kind": "adamw"},
    {"kind": "adafactor"},
    {"kind": "lion", "implementation": "explicit"},
    {"kind": "muon", "implementation": "explicit"},
)


def settings_of(preset: str | None) -> TrainScratch:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "params.yaml"
        shutil.copy(ROOT / "params.yaml", path)
        if preset:
            apply_preset(preset, path, ROOT / "presets")
        return load_params(path).train_scratch


def words(rows: int) -> pa.Table:
    """Random ids; a word has 8.5 letters on average, its answer 7.4 phonemes, ends included."""
    random = np.random.default_rng(0)
    columns = {}
    for name, mean in (("source", 8.5), ("target", 7.4)):
        lengths = np.clip(np.rint(random.normal(mean, 2.3, rows)), 2, 24).astype(int)
        ids = [[*random.integers(4, VOCABULARY, length - 1).tolist(), 2] for length in lengths]
        columns[name] = pa.array(ids, pa.list_(pa.int32()))
    return pa.table({"row": pa.array(range(rows), pa.int32()), **columns})


def milliseconds(
    settings: TrainScratch, choice: dict[str, Any], repeats: int
) -> tuple[float, float]:
    """(forward and backward, step of the optimizer)."""
    batches = TokenBatches(words(20_000), settings.batch_tokens, seed=0)
    info = {"task": "seq2seq", "source_vocab_size": VOCABULARY, "target_vocab_size": VOCABULARY,
            "max_source_length": 64, "max_target_length": 64}  # fmt: skip
    valid = TokenBatches(words(10), settings.batch_tokens, seed=0)
    objective = build_objective(settings, info, valid, seed=0)
    objective.model.train()
    chosen: OptimizerSettings = TypeAdapter(OptimizerSettings).validate_python(
        {"learning_rate": 1e-3, "weight_decay": 0.01, **choice}
    )
    optimizer = make_optimizer(objective.model, chosen)
    set_learning_rate(optimizer, 1e-3)
    passes, steps = [], []
    for index in range(repeats):
        batch = batches.batch(index)
        start = time.process_time()
        objective.backward(batch, batch.tokens)
        between = time.process_time()
        optimizer.step()
        steps.append(time.process_time() - between)
        passes.append(between - start)
        optimizer.zero_grad()
    return 1000 * statistics.median(passes), 1000 * statistics.median(steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset")
    parser.add_argument("--repeats", type=int, default=30)
    arguments = parser.parse_args()
    open_machine("cpu", threads=1)
    settings = settings_of(arguments.preset)
    print(machine_line("torch"))
    print(f"\n{arguments.preset or 'params.yaml'}\n")
    print("| optimizer | forward and backward | step |\n|---|---:|---:|")
    for choice in CHOICES:
        passes, step = milliseconds(settings, choice, arguments.repeats)
        print(f"| {choice['kind']} | {passes:.0f} ms | {step:.1f} ms |")


if __name__ == "__main__":
    main()
