"""The stage: from the folders of `tokenize` to models/scratch and curves; kills and rivals."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from scratchformer.errors import DataError
from scratchformer.files import read_json, write_json
from scratchformer.params import load_params
from scratchformer.stages.train_scratch import train_scratch
from scratchformer.tokenization import EOS_ID, train_tokenizer
from scratchformer.transformer import Transformer, load_model

ROOT = Path(__file__).parents[2]
WORDS = ["ab", "bac", "cabb", "dd", "acdc", "bead"]


class Recorder:
    """Stands for the tracker."""

    def __init__(self):
        self.steps, self.tables, self.summary, self.inputs = {}, [], {}, []

    def log_metrics(self, values, step):
        for name in values:
            self.steps.setdefault(name, []).append(step)

    def log_summary(self, values):
        self.summary = values

    def log_table(self, name, rows):
        self.tables += rows

    def log_input(self, name, path, context):
        assert path.is_file()
        self.inputs.append((name, context))


@pytest.fixture
def params(settings, tmp_path, monkeypatch):
    """A working folder as `tokenize` leaves it: spell a word with blanks between its letters."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    params = load_params(ROOT / "params.yaml")
    tokens, tokenizers = Path("data/tokenized/scratch"), Path("models/tokenizers/scratch")
    tokens.mkdir(parents=True)
    tokenizers.mkdir(parents=True)
    source = train_tokenizer(WORDS, params.tokenize.scratch.source)
    target = train_tokenizer([" ".join(word) for word in WORDS], params.tokenize.scratch.target)
    source.save(str(tokenizers / "source.json"))
    target.save(str(tokenizers / "target.json"))
    for split, words in (("train", WORDS * 10), ("valid", WORDS)):
        ids = pa.list_(pa.int32())
        table = pa.table({
            "row": pa.array(range(len(words)), pa.int32()),
            "source": pa.array([source.encode(word).ids for word in words], ids),
            "target": pa.array([target.encode(" ".join(word)).ids for word in words], ids),
        })
        assert table["target"][0].as_py()[-1] == EOS_ID
        with pa.ipc.new_file(str(tokens / f"{split}.arrow"), table.schema) as writer:
            writer.write_table(table)
    write_json(tokens / "info.json", {
        "task": "seq2seq", "source_vocab_size": source.get_vocab_size(), "max_source_length": 9,
        "target_vocab_size": target.get_vocab_size(), "max_target_length": 9,
    })  # fmt: skip
    run = params.run.model_copy(update={"threads": 1})
    return params.model_copy(update={"run": run, "train_scratch": settings()})


def test_the_outputs_are_in_place_and_the_checkpoint_is_gone(params, capsys):
    run = Recorder()
    summary = train_scratch(params, run)
    assert all(path.is_dir() for path in summary.outputs)
    assert {path.name for path in Path("models/scratch").iterdir()} == {
        "config.json", "model.safetensors", "source.json", "target.json", "training.json",
    }  # fmt: skip
    assert {path.name for path in Path("reports/history/scratch").iterdir()} == {
        "train.csv", "valid.csv", "speed.csv", "not_finite.csv", "diagnostics.csv",
    }  # fmt: skip
    model = load_model(Path("models/scratch"))
    assert isinstance(model, Transformer)
    results = read_json(Path("models/scratch/training.json"))
    assert results["parameters"] == sum(p.numel() for p in model.parameters())
    assert results["steps"] == 12 and results["stop_reason"] == "max_steps"
    assert results["best_valid_loss"] == results["valid"]["loss"]
    assert run.summary == results
    assert run.steps["train.loss"] == [3, 6, 9, 12] and run.steps["valid.loss"] == [4, 8, 12]
    assert run.inputs == [("train", "training"), ("valid", "validation")]
    assert not list(Path(".checkpoints").rglob("*.safetensors"))
    words = {row["source"] for row in run.tables}
    assert words <= set(WORDS) and len(run.tables) == 9
    assert f"  {run.tables[0]['source']}: " in capsys.readouterr().out


def test_equal_runs_write_equal_bytes(params):
    files = ("models/scratch/model.safetensors", "models/scratch/training.json",
             "reports/history/scratch/train.csv", "reports/history/scratch/valid.csv")  # fmt: skip
    written = []
    for _ in range(2):
        train_scratch(params, Recorder())
        written.append([Path(name).read_bytes() for name in files])
    assert written[0] == written[1]
    other = params.run.model_copy(update={"seed": 1})
    train_scratch(params.model_copy(update={"run": other}), Recorder())
    assert Path(files[0]).read_bytes() != written[0][0]


def test_without_tokenized_data(params):
    shutil.rmtree("data")
    with pytest.raises(DataError, match=r"train\.arrow not found; make it with: dvc repro"):
        train_scratch(params, Recorder())


@pytest.mark.slow
def test_signals_resume_and_rivals_in_real_processes(params, settings):
    """SIGTERM leaves with 143 and a checkpoint, a rival with 2 and one line; nothing is lost."""
    from ruamel.yaml import YAML

    values = settings(max_steps=600, validate_every=300, log_every=30).model_dump()
    document = {**params.model_dump(), "train_scratch": values}
    document["tracking"]["enabled"] = False
    with Path("params.yaml").open("w") as file:
        YAML().dump(document, file)
    command = [sys.executable, "-m", "scratchformer.stages.train_scratch"]
    environment = {key: os.environ[key] for key in os.environ if not key.startswith("DVC")}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as first:
        while not (curves := list(Path(".checkpoints").rglob("train.csv"))):
            assert first.poll() is None, first.stderr.read()
        while len(curves[0].read_text().splitlines()) < 3:
            assert first.poll() is None, first.stderr.read()
        first.send_signal(signal.SIGSTOP)  # so that it does not end before its rival begins
        rival = subprocess.run(command, capture_output=True, text=True, env=environment)
        first.send_signal(signal.SIGCONT)
        first.send_signal(signal.SIGTERM)
        _, errors = first.communicate(timeout=60)
    assert rival.returncode == 2
    assert rival.stderr.count("\n") == 1 and f"(pid {first.pid})" in rival.stderr
    assert first.returncode == 143
    assert errors.count("\n") == 1 and "stopped by SIGTERM after step" in errors
    assert not Path("models/scratch").exists()
    resumed = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "resuming after step" in resumed.stdout
    curve = Path("reports/history/scratch/train.csv").read_text()
    steps = [line.split(",")[0] for line in curve.splitlines()]
    assert steps == ["step", *map(str, range(30, 601, 30))]
