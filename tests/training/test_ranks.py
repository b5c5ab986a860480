"""Several processes make the updates of one."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from tests.training.conftest import INFO, make_copy_table, make_settings

from scratchformer.data.tokenized.batches import TokenBatches
from scratchformer.runtime import processes
from scratchformer.training.build import build_objective
from scratchformer.training.objectives import classification, seq2seq

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "accumulate": 3, "max_steps": 12, "model__dropout": 0.2, "diagnose_every": 5,
    # The gradient of a bias of keys is 0 but for rounding, which a smaller epsilon would blow up.
    "optimizer": {"epsilon": 1e-4},
}  # fmt: skip
# Losses that are more than a sum over one pass, and noise that changes how many tokens there are.
OTHERS = {
    "r_drop": {"loss": {"kind": "r_drop"}, "word_dropout": 0.2},
    "focal": {"loss": {"kind": "focal"}, "label_smoothing": 0.0, "bpe_dropout": 0.3},
    "unlikelihood": {"loss": {"kind": "unlikelihood"}, "bpe_dropout": 0.3, "word_dropout": 0.2},
}
CURVES = ("train", "valid", "diagnostics")


def curve(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / "checkpoints/history" / f"{name}.csv")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same training in 1, 2 and 3 processes; one that began in 2, and ended in 1; and those of
    OTHERS in 1 and in 2."""
    folder = tmp_path_factory.mktemp("ranks")
    jobs = [
        {"folder": str(folder / str(count)), "processes": count, "settings": SETTINGS}
        for count in (1, 2, 3)
    ]
    moved = {**jobs[0], "folder": str(folder / "moved")}
    jobs += [{**moved, "processes": 2, "stop_after": 6}, moved]
    jobs += [
        {"folder": str(folder / f"{name}-{count}"), "processes": count, "settings": SETTINGS | more}
        for name, more in OTHERS.items()
        for count in (1, 2)
    ]
    (folder / "job.json").write_text(json.dumps(jobs))
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("train_in_ranks.py"), folder / "job.json"],
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}, text=True, capture_output=True,
        timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("resuming after step 6 of 12") == 1
    return folder


PAIRS = [("1", "2"), ("1", "3"), ("1", "moved"), *((f"{name}-1", f"{name}-2") for name in OTHERS)]


@pytest.mark.parametrize(("alone", "other"), PAIRS, ids=[other for _, other in PAIRS])
def test_updates_are_those_of_one_process_but_for_rounding(
    trained: Path, alone: str, other: str
) -> None:
    one, several = (
        load_file(trained / name / "model/model.safetensors") for name in (alone, other)
    )
    apart = max(float((one[name] - several[name]).abs().max()) for name in one)
    print(f"\nweights after 12 updates, {alone} and {other}: largest difference {apart:.1e}")
    assert apart < 1e-5
    for name in CURVES:
        expected, found = curve(trained / alone, name), curve(trained / other, name)
        pd.testing.assert_frame_equal(found, expected, rtol=1e-4, atol=1e-6)


def test_every_loss_and_every_noise_makes_a_training_of_its_own(trained: Path) -> None:
    """Or the comparisons above would be the same one several times."""
    first = [curve(trained / name, "train").iloc[0]["loss"] for name, _ in PAIRS[2:]]
    assert len(set(first)) == len(first)


@pytest.mark.parametrize("count", [2, 3])
def test_all_processes_end_with_the_same_bytes(trained: Path, count: int) -> None:
    weights = [(trained / str(count) / f"weights-{rank}") for rank in range(count)]
    assert len({path.read_text() for path in weights}) == 1


@pytest.mark.parametrize("module", [seq2seq, classification], ids=["seq2seq", "classification"])
def test_the_shares_of_a_validation_add_up_to_the_whole(
    module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums, decoded ids and answers of a model with large random weights."""
    table = make_copy_table(40)
    info = {**INFO, "task": module.__name__.rpartition(".")[2], "num_labels": 3}
    if module is classification:
        labels = pa.array([row % 3 for row in range(len(table))], pa.int32())
        table = table.drop_columns("target").append_column("label", labels)
    monkeypatch.setattr(seq2seq, "ROWS_DECODED_TOGETHER", 3)
    settings = make_settings()
    objective = build_objective(settings, info, TokenBatches(table, 64, 1), 1)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in objective.model.parameters():
            parameter.normal_()

    def exchanged(is_mine: Callable[[int], bool]) -> list[torch.Tensor]:
        seen: list[torch.Tensor] = []

        def note_values(values: list[float], device: torch.device) -> list[float]:
            seen.append(torch.tensor(values, dtype=torch.float64))
            return values

        def note_tensor(tensor: torch.Tensor) -> torch.Tensor:
            seen.append(tensor.clone())
            return tensor

        monkeypatch.setattr(processes, "is_mine", is_mine)
        monkeypatch.setattr(module, "is_mine", is_mine)
        monkeypatch.setattr(module, "all_reduce_sum", note_values)
        monkeypatch.setattr(module, "sum_tensor", note_tensor)
        objective.validate()
        return seen

    whole = exchanged(lambda place: True)
    even, odd = exchanged(lambda place: place % 2 == 0), exchanged(lambda place: place % 2 == 1)
    assert len(whole) == 2
    for total, first, second in zip(whole, even, odd, strict=True):
        torch.testing.assert_close(first + second, total)
        assert first.any() and second.any() and not torch.equal(first, second)
