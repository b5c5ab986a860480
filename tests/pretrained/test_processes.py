"""Fine-tuning in two processes under `accelerate launch`: the same training, in halves."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from ruamel.yaml import YAML
from safetensors.numpy import load_file

from scratchformer.data.prepared import Info, Label
from scratchformer.files import read_json, write_json

ROOT = Path(__file__).parents[2]
LAUNCH = [
    sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2",
    "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
    "--num_cpu_threads_per_process", "1", "-m", "scratchformer.stages.finetune",
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
    params = yaml.load(ROOT / "params.yaml")
    params["run"]["threads"] = 1
    params["tracking"]["enabled"] = False
    params["pretrained"] = {"kind": "folder", "name": "models/pretrained/bert", "revision": None}
    params["finetune"] |= {"epochs": 2, "batch_size": 16, "learning_rate": 0.003, "log_every": 1}
    yaml.dump(params, tmp_path / "params.yaml")
    return tmp_path


def train(folder: Path, command: list[str]) -> tuple[Path, str]:
    """Run the stage; its outputs, moved away, and what it said."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    kept = folder / f"result-{len(list(folder.glob('result-*')))}"
    kept.mkdir()
    (folder / "models/finetuned").rename(kept / "model")
    (folder / "reports/history/finetune").rename(kept / "history")
    assert not list((folder / ".checkpoints").rglob("*.safetensors"))
    return kept, done.stdout


@pytest.mark.slow
def test_two_processes_make_the_updates_of_one(workplace: Path) -> None:
    """Equal up to the order of sums: AdamW divides by the size of the gradient, so differences of
    the last bit grow to a share of the learning rate where a gradient is almost zero."""
    one, _ = train(workplace, [sys.executable, "-m", "scratchformer.stages.finetune"])
    two, said = train(workplace, LAUNCH)
    assert said.count("epoch 2 of 2") == 1  # one voice
    mine, theirs = (load_file(folder / "model" / "model.safetensors") for folder in (one, two))
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        assert abs(tensor - theirs[name]).max() < 1e-4, name
    start = load_file(workplace / "models/pretrained/bert/model.safetensors")
    moved = max(abs(start[name] - mine[f"bert.{name}"]).max() for name in start)
    assert moved > 5e-3  # fifty times the bound above
    for curve, rows in (("train", 6), ("valid", 2)):
        first, second = (
            [[float(cell) for cell in line.split(",")] for line in text.splitlines()[1:]]
            for text in ((each / "history" / f"{curve}.csv").read_text() for each in (one, two))
        )
        assert len(first) == rows
        for row, other in zip(first, second, strict=True):
            assert row == pytest.approx(other, rel=1e-3)
    reports = [read_json(each / "model" / "training.json") for each in (one, two)]
    for key in ("steps", "best_step", "tokens", "stop_reason"):
        assert reports[0][key] == reports[1][key]
