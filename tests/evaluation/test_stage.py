"""The stage evaluate over tiny models: either task on either track, and what it leaves behind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from scratchformer.base.errors import DataError
from scratchformer.evaluation.tables.results_table import render
from scratchformer.params import Params
from scratchformer.stages.evaluate import evaluate

Workplace = Callable[[str, str], Params]


class Recorder:
    """Stands in for tracking: remembers what it was told."""

    def __init__(self) -> None:
        self.tables: dict[str, Any] = {}
        self.inputs: list[str] = []

    def log_table(self, name: str, rows: Any) -> None:
        self.tables[name] = rows

    def log_input(self, name: str, path: Path, context: str) -> None:
        assert path.exists()
        self.inputs.append(name)

    def log_summary(self, values: Any) -> None:
        self.summary = values

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        assert path.exists()


def run(params: Params) -> tuple[dict[str, Any], Recorder, Any]:
    recorder = Recorder()
    summary = evaluate(params, recorder)  # type: ignore[arg-type]
    metrics = json.loads(Path("reports/metrics.json").read_text(encoding="utf-8"))
    assert metrics == recorder.summary
    return metrics, recorder, summary


def systems() -> set[str]:
    return {path.stem for path in Path("reports/predictions").glob("*.parquet")}


def test_words_and_classes(workplace: Workplace) -> None:
    metrics, recorder, summary = run(workplace("words", "classes"))
    scratch, finetune = metrics["scratch"], metrics["finetune"]
    assert {"wer", "per", "exact_match", "loss", "perplexity", "n"} <= scratch.keys()
    assert set(scratch["baselines"]) == {"copy", "letter_context"}
    # The words of this test are spelled as they sound; the control cannot but learn that.
    assert scratch["baselines"]["letter_context"]["wer"] < 0.1 < scratch["wer"]
    assert scratch["against"]["letter_context"]["wer"]["low"] > 0
    assert set(finetune["baselines"]) == {"majority", "tfidf", "probe"}
    assert finetune["baselines"]["tfidf"]["accuracy"] > 0.9
    assert finetune["delta"]["accuracy"]["value"] == pytest.approx(
        finetune["after"]["accuracy"] - finetune["before"]["accuracy"], abs=2e-6
    )
    assert finetune["groups"] == 20 and finetune["n"] == 40
    assert systems() == {
        "scratch-model", "scratch-copy", "scratch-letter_context",
        *(f"finetune-{name}" for name in ("before", "after", "majority", "tfidf", "probe")),
    }  # fmt: skip
    predictions = pd.read_parquet("reports/predictions/finetune-after.parquet")
    assert (predictions["prediction"] == predictions["label"]).mean() == pytest.approx(
        finetune["after"]["accuracy"], abs=1e-6
    )
    words = pd.read_parquet("reports/predictions/scratch-model.parquet")
    assert 1 - words["exact"].mean() == pytest.approx(scratch["wer"], abs=1e-6)
    assert words["distance"].sum() / words["reference_length"].sum() == pytest.approx(
        scratch["per"], abs=1e-6
    )
    for name in ("changes", "confusions", "classes", "effect-by-class", "near-duplicates"):
        assert f"finetune-{name}" in recorder.tables
        assert Path(f"reports/predictions/finetune-{name}.csv").exists()
    assert recorder.inputs == ["scratch-test", "finetune-test"]
    assert "Transformer from scratch" in render(metrics)
    assert summary.rows


def test_both_tracks_on_the_same_rows_share_a_table(workplace: Workplace) -> None:
    metrics, _, _ = run(workplace("classes", "classes"))
    scratch, joined = metrics["scratch"], metrics["finetune"]["baselines"]["scratch"]
    assert joined["accuracy"] == scratch["accuracy"]
    assert "scratch" in metrics["finetune"]["against"]
    assert {"scratch-model", "finetune-scratch"} <= systems()


def test_translation_on_both_tracks(workplace: Workplace) -> None:
    metrics, _, _ = run(workplace("sentences", "sentences"))
    finetune = metrics["finetune"]
    for node in (metrics["scratch"], finetune["before"], finetune["after"]):
        assert {"token_error_rate", "bleu", "chrf", "bleu_signature", "perplexity"} <= node.keys()
        assert {"bleu", "chrf"} <= node["intervals"].keys()
    # The answer is the source here.
    assert finetune["baselines"]["copy"]["exact_match"] == 1
    assert finetune["baselines"]["copy"]["bleu"] == pytest.approx(100)
    assert set(finetune["baselines"]) == {"copy", "nearest", "scratch"}
    assert finetune["baselines"]["scratch"]["bleu"] == metrics["scratch"]["bleu"]
    assert "sacrebleu: `nrefs" in render(metrics)


def test_the_same_inputs_give_the_same_bytes(workplace: Workplace) -> None:
    params = workplace("words", "classes")
    run(params)
    files = sorted(Path("reports").rglob("*.*"))
    first = {path: path.read_bytes() for path in files}
    run(params)
    assert {path: path.read_bytes() for path in sorted(Path("reports").rglob("*.*"))} == first


def test_a_model_of_the_other_task_is_named(workplace: Workplace) -> None:
    params = workplace("words", "classes")
    config = Path("models/scratch/config.json")
    config.write_text(config.read_text().replace('"Transformer"', '"Nonsense"'))
    with pytest.raises(DataError, match=r"models/scratch: .*'Nonsense'"):
        run(params)
    assert not Path("reports").exists()
