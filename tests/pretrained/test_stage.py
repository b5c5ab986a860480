"""The stage: from the folders of `tokenize` to models/finetuned and curves."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.pretrained.conftest import make_stage_folder

from scratchformer.base.errors import DataError
from scratchformer.base.files import read_json
from scratchformer.params import Params
from scratchformer.pretrained.finetuning.model_card import licence_of
from scratchformer.stages.finetune import finetune


class Recorder:
    """Stands for the tracker."""

    def __init__(self) -> None:
        self.metrics: list[tuple[int, Mapping[str, float]]] = []
        self.summary: Mapping[str, Any] = {}
        self.inputs: list[str] = []

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        self.metrics.append((step, values))

    def log_summary(self, values: Mapping[str, Any]) -> None:
        self.summary = values

    def log_input(self, name: str, path: Path, context: str) -> None:
        assert path.is_file()
        self.inputs.append(context)


@pytest.fixture
def params(
    tiny_bert: Path, rows: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Params:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return make_stage_folder(tmp_path, tiny_bert, rows, epochs=2)


def test_the_outputs_are_in_place_and_the_checkpoint_is_gone(params: Params) -> None:
    run = Recorder()
    summary = finetune(params, run)  # type: ignore[arg-type]
    assert all(path.is_dir() for path in summary.outputs)
    assert {path.name for path in Path("reports/history/finetune").iterdir()} == {
        "train.csv", "valid.csv", "speed.csv",
    }
    config = read_json(Path("models/finetuned/config.json"))
    assert config["id2label"] == {"0": "x", "1": "y", "2": "z"}
    assert not list(Path(".checkpoints").rglob("*.safetensors"))
    assert run.summary["best_step"] in (5, 10)
    assert run.inputs == ["training", "validation"]
    assert {"train/loss", "train/learning_rate", "speed/tokens_per_second", "valid/accuracy"} <= {
        name for _, values in run.metrics for name in values
    }


def test_the_card_is_written_from_the_run(params: Params) -> None:
    finetune(params, Recorder())  # type: ignore[arg-type]
    card = Path("models/finetuned/README.md").read_text(encoding="utf-8")
    report = read_json(Path("models/finetuned/training.json"))
    for told in (
        "# tiny-bert, fine-tuned on words",
        "pipeline_tag: text-classification",
        "Licence of the data: CC0-1.0",
        "its licence: not stated",
        "Rows: 150 train, 50 valid, 10 test.",
        "- `x`: the first\n- `y`\n",
        f"{report['steps']} updates",
        f"| accuracy | {report['valid']['accuracy']:.4f} |",
        "| `learning_rate` | 0.0002 |",
    ):
        assert told in card
    assert str(Path(params.pretrained.name).parent) not in card  # no path of this machine
    finetune(params, Recorder())  # type: ignore[arg-type]
    assert Path("models/finetuned/README.md").read_text(encoding="utf-8") == card


def test_the_licence_of_a_pretrained_model_is_read_from_its_card(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\nlicense: none of it\n")
    assert licence_of(tmp_path) == "mit"
    (tmp_path / "README.md").write_text("no head\nlicense: mit\n"[:8])
    assert licence_of(tmp_path).startswith("not stated")


def test_without_tokenized_data(params: Params) -> None:
    shutil.rmtree("data/tokenized")
    with pytest.raises(DataError, match="dvc repro tokenize"):
        finetune(params, Recorder())  # type: ignore[arg-type]
    assert not Path("models/finetuned").exists()
