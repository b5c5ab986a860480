"""Everything that computes, on the CPU and on a device that is not the CPU. A process of its own.

usage: python run_elsewhere.py FOLDER [DEVICE]

FOLDER/scratch and FOLDER/bert hold models. DEVICE is one of run.device; without it, it is one that
is only made believe. Prints one JSON object: what came out on the CPU and what came out elsewhere.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import save
from tests.training.conftest import INFO, make_copy_table, make_settings
from torch.utils._python_dispatch import _disable_current_modes

from scratchformer.checkpoints import checkpoint
from scratchformer.checkpoints.checkpoint import Checkpoints
from scratchformer.data.tokenized.batches import TokenBatches
from scratchformer.data.tokenized.texts import encode_texts
from scratchformer.evaluation.systems.from_scratch import class_probabilities, decode, token_losses
from scratchformer.monitoring.history import read_history
from scratchformer.prediction import load_predictor
from scratchformer.pretrained.finetuning.loss import cross_entropy_loss
from scratchformer.pretrained.hub.inputs import load_inputs
from scratchformer.pretrained.inference import classify, embed
from scratchformer.pretrained.models import loading
from scratchformer.pretrained.models.loading import encoder_of, load_finetuned
from scratchformer.runtime import device
from scratchformer.text.inputs import load_scratch_inputs
from scratchformer.text.tokenizers import load_tokenizers
from scratchformer.training.build import build_objective
from scratchformer.training.gates import pass_gates
from scratchformer.training.loop import Training
from scratchformer.transformer import load_model
from scratchformer.visualization.analysis.inspection.attention import (
    pretrained_attention,
    scratch_attention,
    token_embeddings,
)
from scratchformer.visualization.analysis.inspection.model_input import model_input

WORDS = ["abba", "cab", "dada", "a"]


def labelled(table: pa.Table) -> pa.Table:
    labels = pa.array(np.arange(len(table)) % 3, pa.int32())
    return table.drop_columns("target").append_column("label", labels)


def train(folder: Path, task: str, dropout: float) -> Training:
    """Two updates, a validation and a checkpoint; then again, from there to the end."""
    settings = make_settings(
        accumulate=2, diagnose_every=2, max_steps=4, validate_every=2, log_every=1,
        averaging={"kind": "exponential", "decay": 0.9}, model__dropout=dropout,
        # The gradient of a bias of keys is 0 but for rounding, which a smaller epsilon blows up.
        optimizer={"epsilon": 1e-4},
    )  # fmt: skip
    tables = [make_copy_table(60), make_copy_table(12, seed=9)]
    if task == "classification":
        tables = [labelled(table) for table in tables]
    info = dict(INFO)
    if task == "classification":
        del info["target_vocab_size"], info["max_target_length"]
        info |= {"task": task, "num_labels": 3}
    batches, valid = (TokenBatches(table, settings.batch_tokens, 1) for table in tables)
    objective = build_objective(settings, info, valid, 1)

    def gates() -> None:
        if device.machine().device != "cpu":  # for the CPU they have tests of their own
            pass_gates(objective, batches, settings, 1)

    training = Training(objective, batches, settings, 1, Checkpoints(folder), before_first=gates)
    return training


class StoppedError(Exception):
    """In the name of a signal."""


def from_scratch(folder: Path, dropout: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for task in ("seq2seq", "classification"):
        first = train(folder / task, task, dropout)
        write = first.checkpoints.write

        def write_and_stop(state: Any, write: Any = write) -> None:
            write(state)
            raise StoppedError

        first.checkpoints.write = write_and_stop  # type: ignore[method-assign]
        try:
            first.run()
        except StoppedError:
            training = train(folder / task, task, dropout)
        training.run()
        assert training.device == torch.device(device.machine().device)
        rows = read_history(training.recorder.history.path("train"))
        found[f"{task}: losses"] = [row["loss"] for row in rows]
        found[f"{task}: validation"] = list(training.state.best_values.values())
        table, model = make_copy_table(9, seed=3), training.model
        if task == "classification":
            probabilities = class_probabilities(model, labelled(table), batch_size=4)
            found["class_probabilities"] = probabilities.tolist()
            continue
        found["token_losses"] = token_losses(model, table, 9, batch_size=4).nll.tolist()
        for beam in (1, 3):
            decoded = decode(model, table, 9, beam_size=beam, max_length=6, batch_size=4)
            found[f"decode, beam {beam}"] = [decoded.ids, decoded.scores.tolist()]
    return found


def name_of_device() -> Any:
    return device.machine().device.partition(":")[0]


def trained_models(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, beam in (("scratch", 1), ("scratch", 3), ("bert", 1)):
        answers = load_predictor(folder / name, name_of_device())(WORDS, 1, beam)
        found[f"predict, {name}, beam {beam}"] = [
            [each.text, each.probability] for row in answers for each in row
        ]
    own = device.on_device(load_model(folder / "scratch"))
    inputs = load_scratch_inputs(folder / "scratch")
    tokenizers = load_tokenizers(folder / "scratch")
    maps = scratch_attention(own, tokenizers, inputs, "cab", "abba")
    found["attention"] = maps["cross"].maps.tolist()
    found["embeddings"] = token_embeddings(own, tokenizers)[0].sum(axis=1).tolist()
    bert, texts = load_finetuned(folder / "bert", "eager"), load_inputs(folder / "bert")
    ids = encode_texts(texts, WORDS).ids
    rows = pa.table({"source": pa.array(ids, pa.list_(pa.int32()))})
    found["classify"] = classify(bert, rows, 2).tolist()
    found["embed"] = embed(encoder_of(bert), rows, 2).tolist()
    row = model_input(bert, texts, "dada")
    found["attention of BERT"] = pretrained_attention(bert, row.batch, row.tokens)[
        "encoder"
    ].maps.tolist()
    loss = cross_entropy_loss(torch.tensor([1.0, 2.0, 3.0]), 0.1)
    labels = torch.tensor([2]).to(bert.device)
    found["weighted loss"] = loss(bert(**row.batch), labels, 1).item()
    return found


def everything(folder: Path, place: str, dropout: float) -> dict[str, Any]:
    return {**from_scratch(folder / place, dropout), **trained_models(folder)}


def on_make_believe(folder: Path, dropout: float) -> dict[str, Any]:
    """`everything`, on a device that torch knows by name only."""
    from tests.runtime.elsewhere import ELSEWHERE, ElsewhereMode, tensor, torch_tensor

    def read_on_cpu(folder: Path, load: Callable[[], Any]) -> Any:
        """transformers makes models on torch's device `meta` first: the mode does not know it."""
        with _disable_current_modes(), patch.object(torch, "tensor", torch_tensor):
            return load()

    device._find = lambda name: ELSEWHERE
    # safetensors looks for the memory of a tensor; it moves one of a GPU to the CPU itself.
    checkpoint.save = lambda tensors: save({name: t.cpu() for name, t in tensors.items()})
    loading.explained = read_on_cpu
    with ElsewhereMode(), patch.object(torch, "tensor", tensor):
        device.open_machine("auto", 1)
        return everything(folder, "elsewhere", dropout)


def main() -> None:
    folder, *name = map(Path, sys.argv[1:])
    if not name:  # autograd has a queue for each device there is at its first backward pass
        from tests.runtime import elsewhere  # noqa: F401
    # A real device draws dropout from a generator of its own.
    dropout = 0.0 if name else 0.1
    torch.set_num_threads(1)
    report, sys.stdout = sys.stdout, sys.stderr
    found = {"cpu": everything(folder, "cpu", dropout)}
    if name:
        device.open_machine(str(name[0]), 1)  # type: ignore[arg-type]
        found["elsewhere"] = everything(folder, "elsewhere", dropout)
    else:
        found["elsewhere"] = on_make_believe(folder, dropout)
    print(json.dumps(found), file=report)


if __name__ == "__main__":
    main()
