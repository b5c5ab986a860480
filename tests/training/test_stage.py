"""The stage: from the folders of `tokenize` to models/scratch and curves."""

import shutil
from pathlib import Path

import pytest
from tests.training.conftest import WORDS, make_stage_folder

from scratchformer.base.errors import DataError
from scratchformer.base.files import read_json
from scratchformer.stages.train_scratch import train_scratch
from scratchformer.transformer import Transformer, load_model


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
def params(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return make_stage_folder(tmp_path)


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
    assert run.steps["train/loss"] == [3, 6, 9, 12] and run.steps["valid/loss"] == [4, 8, 12]
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
