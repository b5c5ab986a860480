"""The project's own training loop on the task of reverser.py: a training takes seconds."""

import contextlib
import csv
import io
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from reverser import FIRST_LETTER, LETTERS, LONGEST, words

from scratchformer.checkpoints.checkpoint import Checkpoints
from scratchformer.data.tokenized.batches import TokenBatches
from scratchformer.params import TrainScratch, load_params
from scratchformer.training.build import build_objective
from scratchformer.training.loop import Training

PARAMS = Path(__file__).parents[2] / "params.yaml"
VOCABULARY = FIRST_LETTER + LETTERS
INFO = {
    "task": "seq2seq",
    "source_vocab_size": VOCABULARY,
    "target_vocab_size": VOCABULARY,
    "max_source_length": LONGEST + 2,
    "max_target_length": LONGEST + 2,
}
MODEL = {
    "d_model": 32, "num_heads": 4, "d_ff": 64, "num_encoder_layers": 1, "num_decoder_layers": 1,
    "dropout": 0.0, "norm": "layer", "norm_position": "pre", "activation": "relu",
    "positions": "sinusoidal", "tie_embeddings": "decoder", "initialization": "xavier",
    "attention": "fused", "num_kv_heads": 0,
}  # fmt: skip
SETTINGS = {
    "schedule": "cosine", "warmup_steps": 20,
    "clip_norm": 1.0, "label_smoothing": 0.0, "batch_tokens": 256, "accumulate": 1,
    "max_steps": 200, "validate_every": 200, "patience": 9, "decode_samples": 1, "log_every": 5,
}  # fmt: skip


@lru_cache
def split(rows: int, seed: int) -> pa.Table:
    """Words and their reversals, as the stage `tokenize` would write them."""
    sides = words(rows, torch.Generator().manual_seed(seed))
    columns = [
        pa.array([[id for id in line if id] for line in side.tolist()], pa.list_(pa.int32()))
        for side in sides
    ]
    numbers = pa.array(range(rows), pa.int32())
    return pa.table({"row": numbers, "source": columns[0], "target": columns[1]})


def make_training(folder: Path, seed: int = 1, hooks: Any = None, **changes: Any) -> Training:
    """A training whose checkpoints are in `folder`. `changes` are settings, of the model or not."""
    model = {key: changes.pop(key, value) for key, value in MODEL.items()}
    optimizer = {"kind": "adamw", "learning_rate": changes.pop("learning_rate", 0.01)}
    optimizer["weight_decay"] = 0.01
    rest = load_params(PARAMS).train_scratch.model_dump()  # what decides nothing here
    chosen = {**rest, **SETTINGS, **changes, "model": model, "optimizer": optimizer}
    settings = TrainScratch.model_validate(chosen)
    train = TokenBatches(split(4000, 0), settings.batch_tokens, seed)
    valid = TokenBatches(split(200, 1), settings.batch_tokens, seed)
    objective = build_objective(settings, INFO, valid, seed)
    return Training(objective, train, settings, seed, Checkpoints(folder), **(hooks or {}))


def run_quietly(training: Training) -> None:
    """To the end, without the lines that a person would read."""
    with contextlib.redirect_stdout(io.StringIO()):
        training.run()


def curve(training: Training, name: str, column: str) -> tuple[list[int], list[float]]:
    """Steps and values of one column of train.csv or valid.csv."""
    with training.recorder.history.path(name).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [int(row["step"]) for row in rows], [float(row[column]) for row in rows]
