"""The stage evaluate over tiny models: either task on either track, and what it leaves behind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scratchformer.base.errors import DataError
from scratchformer.evaluation.tables.results_table import render
from scratchformer.params import Params
from scratchformer.prediction import load_predictor
from scratchformer.record.metrics import parse_metrics
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


def texts_that_the_encoder_reads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Fills up with the ids of every text that goes through the encoder before fine-tuning."""
    from scratchformer.evaluation.tracks import class_models

    read: list[Any] = []
    load = class_models.load_encoder

    def watched(*args: Any) -> Any:
        encoder = load(*args)
        encoder.register_forward_pre_hook(
            lambda module, args, inputs: read.extend(inputs["input_ids"]), with_kwargs=True
        )
        return encoder

    monkeypatch.setattr(class_models, "load_encoder", watched)
    return read


def test_words_and_classes(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    params = workplace("words", "classes")
    read = texts_that_the_encoder_reads(monkeypatch)
    metrics, recorder, summary = run(params)
    scratch, finetune = metrics["scratch"], metrics["finetune"]
    assert {"wer", "per", "exact_match", "loss", "perplexity", "n"} <= scratch.keys()
    assert set(scratch["baselines"]) == {"copy", "igtree"}
    # The words of this test are spelled as they sound; the control cannot but learn that.
    assert scratch["baselines"]["igtree"]["wer"] < 0.1 < scratch["wer"]
    lost = scratch["against"]["igtree"]
    assert lost["wer"]["value"] > 0.9 and lost["per"]["value"] > 0
    assert lost["wer"]["p_value"] == pytest.approx(1 / 101, rel=1e-4)  # no draw was as extreme
    assert scratch["valid"]["baselines"]["igtree"]["wer"] < 0.2 < scratch["valid"]["wer"]
    assert set(finetune["baselines"]) == {"majority", "tfidf", "probe"}
    assert finetune["baselines"]["tfidf"]["accuracy"] > 0.9
    assert "C_at_edge" not in finetune["baselines"]["tfidf"]  # equally good at every C
    assert finetune["delta"]["accuracy"]["value"] == pytest.approx(
        finetune["after"]["accuracy"] - finetune["before"]["accuracy"], abs=2e-6
    )
    assert finetune["groups"] == 20 and finetune["n"] == 40
    assert "mcnemar" not in finetune  # rows come in groups
    assert finetune["delta"].keys() >= {"accuracy", "macro_f1", "loss", "ece"}
    assert all("p_value" in change for change in finetune["delta"].values())
    for name in ("before", "after"):
        assert finetune[name]["temperature"] > 0 and "ece_unscaled" in finetune[name]
        assert finetune["valid"][name].keys() >= {"accuracy", "macro_f1", "loss", "ece"}
    assert finetune["baselines"]["probe"]["C"] > 0
    # For zero-shot and the probe together; a filled prompt is read for each of three labels.
    assert len(read) == 90 + 30 + 40 + 3 * len(params.evaluate.prompts)
    assert finetune["before"]["prompt"] in params.evaluate.prompts
    assert systems() == {
        "scratch-model", "scratch-copy", "scratch-igtree",
        *(f"finetune-{name}" for name in ("before", "after", "majority", "tfidf", "probe")),
    }  # fmt: skip
    predictions = pd.read_parquet("reports/predictions/finetune-after.parquet")
    assert (predictions["prediction"] == predictions["label"]).mean() == pytest.approx(
        finetune["after"]["accuracy"], abs=1e-6
    )
    # What `predict` says of a test row is what was scored: the same temperature lies beside it.
    answers = load_predictor(Path("models/finetuned"))(predictions["text"].tolist()[:8])
    assert [answer.text for (answer,) in answers] == predictions["prediction"].tolist()[:8]
    assert [answer.probability for (answer,) in answers] == pytest.approx(
        predictions["confidence"].tolist()[:8], abs=1e-4
    )
    assert {path.name for path in Path("models/calibration").iterdir()} == {"finetuned.json"}
    curve = pd.read_csv("reports/predictions/finetune-coverage.csv")
    assert curve["accuracy"].iloc[-1] == pytest.approx(finetune["after"]["accuracy"], abs=1e-6)
    assert scratch["train"]["rows"] == len(pd.read_parquet("data/prepared/scratch/train.parquet"))
    assert scratch["train"].keys() - {"rows"} == scratch["valid"].keys() - {"baselines"}
    assert finetune["train"].keys() >= {"rows", "accuracy", "macro_f1", "loss", "ece"}
    words = pd.read_parquet("reports/predictions/scratch-model.parquet")
    assert 1 - words["exact"].mean() == pytest.approx(scratch["wer"], abs=1e-6)
    assert words["distance"].sum() / words["reference_length"].sum() == pytest.approx(
        scratch["per"], abs=1e-6
    )
    for name in ("changes", "confusions", "classes", "effect-by-class", "near-duplicates"):
        assert f"finetune-{name}" in recorder.tables
        assert Path(f"reports/predictions/finetune-{name}.csv").exists()
    assert recorder.inputs == ["scratch-test", "finetune-test"]
    assert "Transformer from scratch" in render(parse_metrics(metrics))
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
    assert "intervals" in metrics["scratch"]
    assert metrics["scratch"]["output"] == "sentences"
    assert finetune["valid"]["after"].keys() >= {"bleu", "chrf", "loss"}
    assert {"bleu", "chrf", "token_error_rate", "exact_match"} <= finetune["delta"].keys()
    assert finetune["mcnemar"]["p_value"] == 1  # every row is a group of its own
    # The answer is the source here.
    assert finetune["baselines"]["copy"]["exact_match"] == 1
    assert finetune["baselines"]["copy"]["bleu"] == pytest.approx(100)
    assert set(finetune["baselines"]) == {"copy", "nearest", "scratch"}
    assert finetune["baselines"]["scratch"]["bleu"] == metrics["scratch"]["bleu"]
    assert "sacrebleu: `nrefs" in render(parse_metrics(metrics))


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


def recomputed(metrics: dict[str, Any], track: str, system: str, file: str) -> dict[str, float]:
    """The scores of a classifier from its predictions, by scikit-learn."""
    from sklearn.metrics import accuracy_score, f1_score, log_loss

    table = pd.read_parquet(f"reports/predictions/{track}-{file}.parquet")
    labels = ["a", "b", "c"]
    return {
        "accuracy": accuracy_score(table["label"], table["prediction"]),
        "macro_f1": f1_score(table["label"], table["prediction"], average="macro"),
        "loss": log_loss(table["label"], np.vstack(table["probabilities"]), labels=labels),
    }


def test_every_number_of_a_classifier_is_recomputed_from_its_predictions(
    workplace: Workplace,
) -> None:
    metrics, _, _ = run(workplace("classes", "classes"))
    finetune = metrics["finetune"]
    nodes = {"before": finetune["before"], "after": finetune["after"], **finetune["baselines"]}
    assert set(nodes) == {"before", "after", "majority", "tfidf", "probe", "scratch"}
    for system, node in nodes.items():
        assert node.keys() >= {"temperature", "ece_unscaled"}, system
        for key, value in recomputed(metrics, "finetune", system, system).items():
            assert node[key] == pytest.approx(value, abs=2e-5), (system, key)
    own = recomputed(metrics, "scratch", "scratch", "model")
    assert metrics["scratch"]["temperature"] == finetune["baselines"]["scratch"]["temperature"]
    tfidf = finetune["baselines"]["tfidf"]  # always right, and too unsure of it until rescaled
    assert 0 < tfidf["temperature"] < 1 and tfidf["ece"] < tfidf["ece_unscaled"]
    assert metrics["scratch"]["accuracy"] == pytest.approx(own["accuracy"], abs=2e-6)
    after, probe = (recomputed(metrics, "finetune", name, name) for name in ("after", "probe"))
    for key in ("accuracy", "macro_f1", "loss"):
        change = finetune["against"]["probe"][key]["value"]
        assert change == pytest.approx(after[key] - probe[key], abs=4e-5)


def test_scores_of_the_validation_split_are_of_its_rows(workplace: Workplace) -> None:
    """The majority class has on valid the share that its label has there, not that of test."""
    metrics, _, _ = run(workplace("words", "classes"))
    shares = {
        split: pd.read_parquet(f"data/prepared/finetune/{split}.parquet")["label"]
        for split in ("train", "valid", "test")
    }
    majority = shares["train"].value_counts().sort_index().idxmax()
    expected = {split: (shares[split] == majority).mean() for split in ("valid", "test")}
    assert expected["valid"] != expected["test"]
    found = metrics["finetune"]
    assert found["valid"]["baselines"]["majority"]["accuracy"] == pytest.approx(
        expected["valid"], abs=1e-6
    )
    assert found["baselines"]["majority"]["accuracy"] == pytest.approx(expected["test"], abs=1e-6)


def test_some_validation_rows_are_decoded_and_scored_against_their_own_references(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scratchformer.evaluation.tracks.sequence_models.VALID_ROWS", 7)
    monkeypatch.setattr("scratchformer.evaluation.controls.sampling.TEXT_ROWS", 50)
    metrics, _, summary = run(workplace("sentences", "sentences"))
    for track in ("scratch", "finetune"):  # the references are the sources
        assert metrics[track]["valid"]["baselines"]["copy"]["exact_match"] == 1
    scratch = metrics["finetune"]["valid"]["baselines"]["scratch"]
    assert scratch == {k: v for k, v in metrics["scratch"]["valid"].items() if k != "baselines"}
    assert sum("learned from 50 of 90 training rows" in line for line in summary.warnings) == 2


def test_one_label_leaves_the_regressions_out_with_a_warning(workplace: Workplace) -> None:
    params = workplace("words", "classes")
    for split in ("train", "valid", "test"):
        path = Path(f"data/prepared/finetune/{split}.parquet")
        table = pq.read_table(path)
        labels = pa.array(["a"] * table.num_rows)
        pq.write_table(table.set_column(table.column_names.index("label"), "label", labels), path)
        arrow = Path(f"data/tokenized/finetune/{split}.arrow")
        with pa.ipc.open_file(arrow) as file:
            ids = file.read_all()
        zeros = pa.array([0] * ids.num_rows, pa.int32())
        ids = ids.set_column(ids.column_names.index("label"), "label", zeros)
        with pa.OSFile(str(arrow), "wb") as sink, pa.ipc.new_file(sink, ids.schema) as writer:
            writer.write_table(ids)
    metrics, _, summary = run(params)
    assert set(metrics["finetune"]["baselines"]) == {"majority"}
    reason = "is left out: the training rows have one label only"
    assert [line for line in summary.warnings if reason in line] == [
        f"finetune: pretrained, frozen + linear probe {reason}",
        f"finetune: TF-IDF + logistic regression {reason}",
    ]


def test_targets_that_cannot_be_aligned_leave_the_letter_tree_out(workplace: Workplace) -> None:
    params = workplace("words", "classes")
    for split in ("train", "valid", "test"):
        path = Path(f"data/prepared/scratch/{split}.parquet")
        table = pq.read_table(path)
        long = pa.array([[" ".join("ABC" * len(word))] for word in table["source"].to_pylist()])
        pq.write_table(table.set_column(table.column_names.index("targets"), "targets", long), path)
    metrics, _, summary = run(params)
    assert set(metrics["scratch"]["baselines"]) == {"copy"}
    assert any("letters by their context (IGTree) is left out: no training pair" in line
               for line in summary.warnings)  # fmt: skip
    assert Path("reports/predictions/scratch-effect-by-length-over-copy.csv").exists()


def test_caps_and_an_edge_of_the_search_are_told_and_kept(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scratchformer.evaluation.tracks.class_models.PROBE_ROWS", 60)
    monkeypatch.setattr("scratchformer.evaluation.controls.sampling.TEXT_ROWS", 50)
    # TF-IDF says one class for all at the first of these C, and the right ones at the last.
    for name in ("_FIRST_C", "_LIMITS"):
        monkeypatch.setattr(f"scratchformer.evaluation.controls.linear.{name}", (0.01, 0.1))
    metrics, _, summary = run(workplace("words", "classes"))
    baselines = metrics["finetune"]["baselines"]
    assert baselines["probe"]["train_rows"] == 60 and baselines["tfidf"]["train_rows"] == 50
    assert baselines["tfidf"]["C"] == 0.1 and baselines["tfidf"]["C_at_edge"] is True
    for line in (
        "finetune: TF-IDF + logistic regression was still getting better at C = 0.1, the last one",
        "finetune: pretrained, frozen + linear probe learned from 60 of 90 training rows",
        "finetune: TF-IDF + logistic regression learned from 50 of 90 training rows",
        "finetune: near duplicates were looked for among 50 of 90 training rows",
    ):
        assert any(warning.startswith(line) for warning in summary.warnings), line


def test_ids_of_labels_are_those_that_the_models_were_trained_on(workplace: Workplace) -> None:
    """The names of the prepared split, through the reader of evaluate, and the tokenized ids."""
    from scratchformer.data.preparation.prepared import load_info, load_split
    from scratchformer.data.tokenized.read import open_split
    from scratchformer.evaluation.reports.classification import LabelledRows

    workplace("classes", "classes")
    for track in ("scratch", "finetune"):
        labels = [label.name for label in load_info(track).labels]
        config = json.loads(Path("models/finetuned/config.json").read_text())
        assert labels == [config["id2label"][str(i)] for i in range(3)]
        for split in ("valid", "test"):
            rows = LabelledRows.of(load_split(track, split), labels)
            ids = open_split(track, split).column("label").to_pylist()
            assert rows.gold.tolist() == ids and len(set(ids)) == 3


def test_the_limit_of_decoding_and_the_beam_are_those_of_the_settings(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scratchformer.evaluation.tracks import scratch_models, sequence_models

    asked = []

    def spy(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **settings: Any) -> Any:
            asked.append((settings["beam_size"], settings["max_length"], settings["batch_size"]))
            return real(*args, **settings)

        return call

    monkeypatch.setattr(scratch_models, "decode", spy(scratch_models.decode))
    spied = spy(sequence_models.pretrained_output)
    monkeypatch.setattr(sequence_models, "pretrained_output", spied)
    params = workplace("words", "sentences")
    beam = params.evaluate.model_copy(update={"beam_size": 2})
    run(params.model_copy(update={"evaluate": beam}))
    # scratch, before and after, on valid and test; scratch and after on training rows
    assert asked == [(2, 12, 16)] * 8
