"""`scratchformer export` and `card`: a folder that MLflow serves, with no pickle in it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scratchformer.base.errors import DataError
from scratchformer.base.files import write_json
from scratchformer.params import Tokenizer
from scratchformer.prediction import load_predictor
from scratchformer.prediction.served import ServedModel, export_pyfunc
from scratchformer.text.rules import InputRules
from scratchformer.text.tokenizers import train_tokenizer
from scratchformer.transformer import EncoderClassifier, TransformerConfig, save_model

WORDS = ["abba", "babel", "cab", "dada"] * 20
PICKLES = {".pkl", ".pickle", ".bin", ".pt", ".pth", ".joblib"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    folder = tmp_path_factory.mktemp("model")
    letters = Tokenizer(algorithm="character", vocab_size=64, lowercase=False)
    source = train_tokenizer(WORDS, letters)
    size = source.get_vocab_size()
    torch.manual_seed(1)
    config = TransformerConfig(
        source_vocab_size=size, target_vocab_size=size, d_model=16, num_heads=2, d_ff=32,
        num_encoder_layers=1, num_labels=3, max_length=12,
    )  # fmt: skip
    save_model(EncoderClassifier(config), folder)
    source.save(str(folder / "source.json"))
    (folder / "labels.json").write_text('["low", "mid", "high"]')
    InputRules(max_source_length=12).save(folder)
    return folder


LOAD = """
import json, sys
sys.path = [entry for entry in sys.path if not entry.endswith("/src")]
import pandas as pd
from mlflow import pyfunc
served = pyfunc.load_model(sys.argv[1])
answers = served.predict(pd.DataFrame({"text": json.loads(sys.argv[2])}), params={"top_k": 2})
import scratchformer
print(json.dumps({"code": scratchformer.__file__, "answers": answers.to_dict("records")}))
"""


@pytest.mark.slow
def test_mlflow_loads_the_folder_in_a_process_without_the_package(
    model: Path, tmp_path: Path
) -> None:
    """More rows than a batch, signature and example in place, the code the folder's own."""
    folder = tmp_path / "served"
    export_pyfunc(model, folder, "abba", "# A card\n")
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix in PICKLES]
    assert (folder / "data" / model.name / "model.safetensors").is_file()
    description = (folder / "MLmodel").read_text()
    for told in (
        "loader_module: scratchformer.prediction.served",
        "signature:",
        "top_k",
        "prediction",
        "saved_input_example_info",
    ):
        assert told in description
    assert "torch==2" in (folder / "requirements.txt").read_text()
    assert (folder / "README.md").read_text() == "# A card\n"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder), json.dumps(WORDS)], cwd=tmp_path,
        env=environment | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = json.loads(done.stdout)
    assert Path(said["code"]).is_relative_to(folder)
    expected = load_predictor(model)(WORDS, 2, 1)
    assert len(said["answers"]) == 80 > 64
    for row, (first, second) in zip(said["answers"], expected, strict=True):
        assert (row["prediction"], row["prediction_2"]) == (first.text, second.text)
        assert row["probability"] == pytest.approx(first.probability, abs=1e-5)


def test_the_index_of_the_table_is_kept(model: Path) -> None:
    import pandas as pd

    table = pd.DataFrame({"text": ["abba", "cab"]}, index=[7, 3])
    answers = ServedModel(load_predictor(model)).predict(table)
    assert list(answers.index) == [7, 3] and list(answers) == ["prediction", "probability"]


def test_nothing_is_overwritten_and_a_missing_model_is_told(model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(DataError, match="exists already"):
        export_pyfunc(model, tmp_path / "mine", "abba")
    with pytest.raises(DataError, match="no model here"):
        export_pyfunc(tmp_path, tmp_path / "new", "abba")
    assert not (tmp_path / "new").exists()


def test_the_card_gains_the_scores_of_the_test_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scratchformer.evaluation.tables.results_table import card_with_results

    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="dvc repro finetune"):
        card_with_results()
    Path("models/finetuned").mkdir(parents=True)
    Path("models/finetuned/README.md").write_text("# A card\n")
    assert card_with_results() == "# A card\n"
    scores = {"accuracy": 0.5, "intervals": {"accuracy": {"low": 0.4, "high": 0.6}}}
    change = {"accuracy": {"value": 0.2, "low": 0.1, "high": 0.3, "p_value": 0.02}}
    node = {
        "task": "classification", "n": 9, "groups": 9, "before": scores,
        "after": {**scores, "accuracy": 0.75}, "valid": {"before": {}, "after": {}},
        "delta": change, "mcnemar": {"p_value": 0.01},
    }  # fmt: skip
    method = {"confidence": 0.95, "resamples": 100, "interval": "BCa"}
    write_json(Path("reports/metrics.json"), {"finetune": node, "method": method})
    card = card_with_results()
    assert card.startswith("# A card\n\n## Scores on the test split\n")
    assert "75.0 % [40.0, 60.0]" in card and "95% bootstrap intervals" in card
