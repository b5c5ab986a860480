"""Fine-tuning in two processes, by `accelerate launch` and `torchrun`: one training in halves."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from ruamel.yaml import YAML
from safetensors.numpy import load_file
from tests.committed import DEFAULT_PARAMS
from tests.forked import ForkedPython

from scratchformer.base.files import read_json, write_json
from scratchformer.checkpoints.session import session_of
from scratchformer.data.preparation.prepared import Info, Label
from scratchformer.pretrained.finetuning.collation import collate_share, count_tokens
from scratchformer.pretrained.inference import NO_LABEL

ROOT = Path(__file__).parents[3]
STAGE = ["-m", "scratchformer.stages.finetune"]
ALONE = [sys.executable, *STAGE]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
TWO = [*TORCHRUN, "--nproc_per_node", "2", *STAGE]
ACCELERATE = [
    sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
    "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
    "--main_process_port", "0", *STAGE,
]  # fmt: skip


@pytest.fixture
def workplace(tiny_bert: Path, rows: pa.Table, tmp_path: Path) -> Path:
    """Data and parameters of a training without dropout, whose draws the processes would share
    differently. The last of 33 rows is a batch of its own, of which one process has nothing."""
    tokens, tokenizer = (tmp_path / name for name in (
        "data/tokenized/finetune", "models/tokenizers/finetune"
    ))  # fmt: skip
    for folder in (tokens, tokenizer, tmp_path / "data/prepared/finetune"):
        folder.mkdir(parents=True)
    for split, table in (("train", rows.slice(0, 33)), ("valid", rows.slice(150))):
        with pa.ipc.new_file(str(tokens / f"{split}.arrow"), table.schema) as writer:
            writer.write_table(table)
    labels = ("x", "y", "z")
    write_json(tokens / "info.json", {"task": "classification", "labels": labels})
    Info("classification", "words", "", "", "", True, tuple(Label(x, "") for x in labels), {}).save(
        tmp_path / "data/prepared/finetune/info.json"
    )
    model = tmp_path / "models/pretrained/bert"
    shutil.copytree(tiny_bert, model)
    config = json.loads((model / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (model / "config.json").write_text(json.dumps(config))
    for path in tiny_bert.glob("tokenizer*.json"):
        shutil.copy(path, tokenizer)
    yaml = YAML(typ="safe")
    params = yaml.load(DEFAULT_PARAMS)
    params["run"]["threads"] = 1
    params["tracking"]["enabled"] = False
    params["pretrained"] = {"kind": "folder", "name": "models/pretrained/bert", "revision": None}
    params["finetune"] |= {
        "epochs": 2, "batch_size": 16, "learning_rate": 0.003, "log_every": 1,
        "freeze": "none", "frozen_layers": 0,
    }  # fmt: skip
    yaml.dump(params, tmp_path / "params.yaml")
    return tmp_path


def start(folder: Path, command: list[str]) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    return ForkedPython(
        command, cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def train(folder: Path, command: list[str]) -> tuple[Path, str]:
    """Run the stage; its outputs, moved away, and what it said."""
    process = start(folder, command)
    said, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors[-3000:]
    kept = folder / f"result-{len(list(folder.glob('result-*')))}"
    kept.mkdir()
    (folder / "models/finetuned").rename(kept / "model")
    (folder / "reports/history/finetune").rename(kept / "history")
    assert not list((folder / ".checkpoints").rglob("*.safetensors"))
    return kept, said


def change(folder: Path, **settings: object) -> None:
    yaml = YAML(typ="safe")
    params = yaml.load(folder / "params.yaml")
    params["finetune"] |= settings
    yaml.dump(params, folder / "params.yaml")


@pytest.mark.slow
def test_two_processes_make_the_updates_of_one(workplace: Path) -> None:
    one, _ = train(workplace, ALONE)
    two, said = train(workplace, ACCELERATE)
    # A launcher that starts one process only would pass the rest.
    assert re.search(r"ran on .*, 2 processes\n", said)
    assert said.count("epoch 2 of 2") == 1  # one voice
    mine, theirs = (load_file(folder / "model" / "model.safetensors") for folder in (one, two))
    assert mine.keys() == theirs.keys()
    apart = max(float(abs(tensor - theirs[name]).max()) for name, tensor in mine.items())
    print(f"\nweights after 6 updates: largest difference {apart:.1e}")
    assert apart < 1e-6
    begin = load_file(workplace / "models/pretrained/bert/model.safetensors")
    moved = max(abs(begin[name] - mine[f"bert.{name}"]).max() for name in begin)
    assert moved > 5e-3
    for curve, rows in (("train", 6), ("valid", 2)):
        first, second = (
            [[float(cell) for cell in line.split(",")] for line in text.splitlines()[1:]]
            for text in ((each / "history" / f"{curve}.csv").read_text() for each in (one, two))
        )
        assert len(first) == rows
        for row, other in zip(first, second, strict=True):
            assert row == pytest.approx(other, rel=1e-5)
    reports = [read_json(each / "model" / "training.json") for each in (one, two)]
    for key in ("steps", "best_step", "tokens", "stop_reason"):
        assert reports[0][key] == reports[1][key]


@pytest.mark.release
def test_sequences_count_their_tokens_together(workplace: Path, copies: pa.Table) -> None:
    """Answers differ in length, so two equal shares of rows are not equal shares of the loss."""
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    settings = T5Config(
        vocab_size=25, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, dropout_rate=0.0,
        pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    )  # fmt: skip
    shutil.rmtree(workplace / "models/pretrained/bert")
    T5ForConditionalGeneration(settings).save_pretrained(workplace / "models/pretrained/bert")
    tokens = workplace / "data/tokenized/finetune"
    write_json(tokens / "info.json", {"task": "seq2seq", "max_target_length": 8})
    info = Info("seq2seq", "copies", "", "", "", True, (), {})
    info.save(workplace / "data/prepared/finetune/info.json")
    for split, table in (("train", copies.slice(0, 33)), ("valid", copies.slice(33))):
        with pa.ipc.new_file(str(tokens / f"{split}.arrow"), table.schema) as writer:
            writer.write_table(table)
    one, two = (train(workplace, command)[0] for command in (ALONE, TWO))
    mine, theirs = (load_file(folder / "model" / "model.safetensors") for folder in (one, two))
    apart = max(float(abs(tensor - theirs[name]).max()) for name, tensor in mine.items())
    print(f"\nweights after 6 updates: largest difference {apart:.1e}")
    assert apart < 1e-5
    begin = load_file(workplace / "models/pretrained/bert/model.safetensors")
    assert max(abs(begin[name] - mine[name]).max() for name in begin) > 5e-3


@pytest.mark.release
def test_two_processes_stop_together_and_go_on_as_if_undisturbed(workplace: Path) -> None:
    change(workplace, epochs=20, patience=20, batch_size=4)  # 9 updates an epoch
    undisturbed, _ = train(workplace, TWO)
    process = start(workplace, TWO)
    while process.poll() is None and not list(workplace.glob(".checkpoints/finetune/*/step-*")):
        time.sleep(0.02)
    process.terminate()
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert len(re.findall(r"finetune: stopped by SIGTERM after update \d+ of 180", errors)) == 1
    assert not (workplace / "models/finetuned").exists()
    resumed, said = train(workplace, TWO)
    assert re.search(r"ran on .*, 2 processes\n", said)
    for name in ("model/model.safetensors", "model/training.json", "history/train.csv"):
        assert (resumed / name).read_bytes() == (undisturbed / name).read_bytes(), name


@pytest.mark.slow
def test_a_folder_in_use_is_refused_in_one_line(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    with session_of(workplace / ".checkpoints/finetune", {"another": "training"}):
        process = start(workplace, TWO)
        _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert errors.count("finetune: ") == errors.count("is being trained by another process") == 1
    assert not (workplace / "models/finetuned").exists()


def test_shares_are_disjoint_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def collate(records: list[int]) -> dict[str, torch.Tensor]:
        rows = torch.tensor(records)
        return {"labels": rows, "attention_mask": torch.ones(len(rows), 4, dtype=torch.int64)}

    monkeypatch.setenv("WORLD_SIZE", "3")
    for batch in ([5, 6, 7, 8, 9], [5]):
        rows, tokens = [], 0
        for rank in range(3):
            monkeypatch.setenv("RANK", str(rank))
            share = collate_share(collate)(batch)
            rows += share["labels"][share["labels"] != NO_LABEL].tolist()
            tokens += count_tokens(share)
        assert sorted(rows) == batch and tokens == 4 * len(batch)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert collate_share(collate) is collate
