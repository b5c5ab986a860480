"""A task small enough to train in a second: write a row of letters again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from tests.committed import DEFAULT_PARAMS

from scratchformer.base.files import write_json
from scratchformer.checkpoints.checkpoint import Checkpoints
from scratchformer.data.tokenized.batches import TokenBatches
from scratchformer.params import Params, TrainScratch, load_params
from scratchformer.text.tokenizers import train_tokenizer
from scratchformer.training.build import build_objective
from scratchformer.training.loop import Training

ROOT = Path(__file__).parents[2]
WORDS = ["ab", "bac", "cabb", "dd", "acdc", "bead"]
EOS, FIRST_LETTER, VOCABULARY = 2, 4, 12
INFO = {
    "task": "seq2seq",
    "source_vocab_size": VOCABULARY,
    "target_vocab_size": VOCABULARY,
    "max_source_length": 12,
    "max_target_length": 12,
}


def make_copy_table(rows: int, seed: int = 0, longest: int = 6) -> pa.Table:
    """Rows of 1 to `longest` letters; every third row has two records (two references)."""
    random = np.random.default_rng(seed)
    row_ids, sources = [], []
    for row in range(rows):
        letters = random.integers(FIRST_LETTER, VOCABULARY, random.integers(1, longest + 1))
        for _ in range(2 if row % 3 == 0 else 1):
            row_ids.append(row)
            sources.append([*letters.tolist(), EOS])
    column = pa.array(sources, pa.list_(pa.int32()))
    return pa.table({"row": pa.array(row_ids, pa.int32()), "source": column, "target": column})


def make_settings(**changes: Any) -> TrainScratch:
    """The section `train_scratch` of a tiny model; `model__x=` changes a value of the model, and
    `learning_rate=`, `weight_decay=` or `optimizer=` those of the optimizer."""
    model = {
        "d_model": 16, "num_heads": 2, "d_ff": 32, "num_encoder_layers": 1,
        "num_decoder_layers": 1, "dropout": 0.1, "norm": "layer", "norm_position": "pre",
        "activation": "relu", "positions": "sinusoidal", "tie_embeddings": "decoder",
        "initialization": "xavier", "attention": "fused", "num_kv_heads": 0,
    }  # fmt: skip
    values = {
        "schedule": "cosine", "warmup_steps": 4,
        "clip_norm": 1.0, "label_smoothing": 0.1, "batch_tokens": 64, "accumulate": 1,
        "word_dropout": 0.0, "bpe_dropout": 0.0,
        "max_steps": 12, "validate_every": 4, "patience": 5, "decode_samples": 8, "log_every": 3,
        "skip_gates": [], "not_finite": "raise", "diagnose_every": 0,
    }  # fmt: skip
    averaging = changes.pop("averaging", {"kind": "none"})
    loss = changes.pop("loss", {"kind": "cross_entropy"})
    optimizer = {"kind": "adamw", "learning_rate": 0.01, "weight_decay": 0.01}
    optimizer |= changes.pop("optimizer", {})
    for key, value in changes.items():
        target, name = (model, key[7:]) if key.startswith("model__") else (values, key)
        (optimizer if key in ("learning_rate", "weight_decay") else target)[name] = value
    return TrainScratch.model_validate(
        {"model": model, "optimizer": optimizer, "averaging": averaging, "loss": loss, **values}
    )


def make_stage_folder(folder: Path, algorithm: str = "character", **changes: Any) -> Params:
    """A working folder as `tokenize` leaves it: spell a word with blanks between its letters."""
    params = load_params(DEFAULT_PARAMS)
    tokens, tokenizers = folder / "data/tokenized/scratch", folder / "models/tokenizers/scratch"
    tokens.mkdir(parents=True)
    tokenizers.mkdir(parents=True)
    cut = params.tokenize.scratch.source.model_copy(update={"algorithm": algorithm})
    source = train_tokenizer(WORDS, cut)
    target = train_tokenizer([" ".join(word) for word in WORDS], params.tokenize.scratch.target)
    source.save(str(tokenizers / "source.json"))
    target.save(str(tokenizers / "target.json"))
    for split, words in (("train", WORDS * 10), ("valid", WORDS)):
        ids = pa.list_(pa.int32())
        table = pa.table({
            "row": pa.array(range(len(words)), pa.int32()),
            "source": pa.array([source.encode(word).ids for word in words], ids),
            "target": pa.array([target.encode(" ".join(word)).ids for word in words], ids),
        })  # fmt: skip
        assert table["target"][0].as_py()[-1] == EOS
        with pa.ipc.new_file(str(tokens / f"{split}.arrow"), table.schema) as writer:
            writer.write_table(table)
    write_json(tokens / "info.json", {
        "task": "seq2seq", "source_vocab_size": source.get_vocab_size(), "max_source_length": 9,
        "target_vocab_size": target.get_vocab_size(), "max_target_length": 9,
    })  # fmt: skip
    run = params.run.model_copy(update={"threads": 1})
    return params.model_copy(update={"run": run, "train_scratch": make_settings(**changes)})


def curve_bytes(training: Training, curve: str) -> bytes:
    return training.recorder.history.path(curve).read_bytes()


def assert_same_bytes(one: Training, other: Training) -> None:
    """Two trainings that have run ended with the same weights and wrote the same curves."""
    for name, parameter in one.parameters.items():
        assert torch.equal(parameter, other.parameters[name]), name
    for curve in ("train", "valid"):
        assert curve_bytes(one, curve) == curve_bytes(other, curve), curve


@pytest.fixture
def copy_table() -> Callable[..., pa.Table]:
    return make_copy_table


@pytest.fixture
def settings() -> Callable[..., TrainScratch]:
    return make_settings


@pytest.fixture
def info() -> dict[str, Any]:
    return dict(INFO)


@pytest.fixture
def training(tmp_path: Any) -> Callable[..., Training]:
    """A training of the copy task in tmp_path / folder; `hooks` go to `Training`."""

    def make(
        hooks: dict[str, Any] | None = None,
        seed: int = 1,
        folder: str = "checkpoints",
        **changes: Any,
    ) -> Training:
        values = make_settings(**changes)
        train = TokenBatches(make_copy_table(60), values.batch_tokens, seed)
        valid = TokenBatches(make_copy_table(12, seed=9), values.batch_tokens, seed)
        objective = build_objective(values, INFO, valid, seed)
        checkpoints = Checkpoints(tmp_path / folder)
        return Training(objective, train, values, seed, checkpoints, **(hooks or {}))

    return make
