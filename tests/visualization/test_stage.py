"""The whole stage, on both tasks, with inputs that are there and that are not."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from scratchformer.base.tasks import TaskName
from scratchformer.params import Params
from scratchformer.record.metrics import load_metrics
from scratchformer.stages.visualize import visualize
from scratchformer.text.rules import InputRules
from scratchformer.tracking import StageRun
from scratchformer.visualization.analysis.predictions import load_predictions
from scratchformer.visualization.report.page.items import Atlas, Missing, Picture
from scratchformer.visualization.report.sections import sections

from .conftest import MARKUP, class_predictions, histories, write_predictions

Make = Callable[[TaskName], Params]
FINETUNE = {
    "finetune-scores", "finetune-loss", "finetune-learning-rate", "finetune-gradient-norm",
    "finetune-validation-scores", "finetune-embeddings", "finetune-encoder-attention-1-before",
    "finetune-encoder-attention-1-after", "finetune-rollout-1", "finetune-confusion-before",
    "finetune-confusion-after", "finetune-effect-by-class", "finetune-effect-by-length",
    "finetune-calibration", "finetune-coverage", "finetune-prediction-flips",
    "finetune-attribution-1",
}  # fmt: skip
TRAINING = {
    "headline", "scratch-scores", "scratch-loss", "scratch-learning-rate", "scratch-gradient-norm",
    "scratch-validation-scores", "scratch-embeddings", "scratch-encoder-attention-1",
}  # fmt: skip


class Told(StageRun):
    """The stage's own run holds no copy of what the run of the pipeline shows."""

    def _send(self, event: str, **fields: object) -> None:
        assert event != "artifact", fields


def run(params: Params) -> tuple[set[str], str, list[str]]:
    """Figures, page and warnings of a run."""
    summary = visualize(params, Told(None))
    folder = Path("reports/figures")
    png = {path.stem for path in folder.glob("*.png")}
    assert png == {path.stem for path in folder.glob("*.svg")}
    return png, Path("reports/report.html").read_text(encoding="utf-8"), summary.warnings


def drawn(params: Params) -> tuple[set[str], list[str]]:
    """Figures, laid out but not saved, and the reasons for what is missing."""
    names, reasons = set(), []
    for section in sections(params, load_metrics()):
        for item in section.items:
            if isinstance(item, Picture):
                item.figure.draw_without_rendering()
                names.add(item.name)
            elif isinstance(item, Missing):
                reasons.append(item.reason)
    return names, reasons


@pytest.fixture(autouse=True)
def no_warnings(recwarn: pytest.WarningsRecorder) -> None:
    """matplotlib warns about glyphs it lacks and layouts it cannot keep; both would be seen."""
    yield  # type: ignore[misc]
    about_figures = [w for w in recwarn if "matplotlib" in w.filename or "visualiz" in w.filename]
    assert [str(warning.message) for warning in about_figures] == []


@pytest.mark.slow
def test_a_sequence_run_gives_every_figure_and_equal_bytes(make_workspace: Make) -> None:
    params = make_workspace("seq2seq")
    figures, page, warnings = run(params)
    assert figures == FINETUNE | TRAINING | {
        "scratch-decoder-attention-1", "scratch-cross-attention-1", "scratch-alignment-1",
        "scratch-error-by-length", "scratch-edits", "scratch-prediction-flips",
    }  # fmt: skip
    assert warnings == [
        "not shown: Near duplicates: "
        "reports/predictions/finetune-near-duplicates.csv does not exist."
    ]
    assert ">90%</" in page and ">0.875</" in page and ">62.5%</" in page  # a chosen threshold
    assert MARKUP not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    playground = Path("reports/playground.html").read_text(encoding="utf-8")
    (data,) = re.findall(r'id="data">(.*?)</script>', playground, re.S)
    held = json.loads(data)
    assert held["weights"] and 1 <= len(held["examples"]) <= 6 and held["limits"] == [64, 64]
    predictions = load_predictions("scratch-model")
    assert set(held["examples"]) <= set(predictions[predictions["exact"]]["source"])
    first = {path.name: path.read_bytes() for path in Path("reports/figures").iterdir()}
    _, again, _ = run(params)
    assert again == page
    assert {path.name: path.read_bytes() for path in Path("reports/figures").iterdir()} == first


def test_a_classification_run_without_optional_inputs_says_what_is_missing(
    make_workspace: Make,
) -> None:
    params = make_workspace("classification")
    shutil.rmtree("reports/history/finetune")
    Path("reports/predictions/finetune-changes.csv").unlink()
    Path("reports/predictions/finetune-before.parquet").unlink()
    train, valid = histories(1)
    train.drop(columns="gradient_norm").to_csv("reports/history/scratch/train.csv", index=False)
    valid[["step", "loss"]].to_csv("reports/history/scratch/valid.csv", index=False)
    figures, page, warnings = run(params)
    training = {name for name in FINETUNE if name.split("-")[1] in ("loss", "learning", "gradient",
                                                                    "validation")}
    own = {"scratch-confusion-model", "scratch-calibration", "scratch-coverage"}
    assert figures == (FINETUNE | TRAINING | own) - (
        training | {"finetune-prediction-flips", "finetune-confusion-before",
                    "finetune-confusion-after", "scratch-gradient-norm",
                    "scratch-validation-scores"}
    )
    for reason in (
        "reports/history/finetune/train.csv does not exist.",
        "reports/predictions/finetune-changes.csv does not exist.",
        "reports/predictions/finetune-before.parquet does not exist.",
        "The history has no gradient norms.",
    ):
        assert reason in page
        assert any(reason in warning for warning in warnings)


def test_one_row_of_one_class(make_workspace: Make) -> None:
    params = make_workspace("classification")
    for name in ("scratch-model", "finetune-before", "finetune-after"):
        write_predictions(name, class_predictions(seed=0, texts=["fever"]))
    figures, _ = drawn(params)
    assert {"finetune-embeddings", "finetune-confusion-after", "scratch-confusion-model"} <= figures


def test_rows_too_long_to_draw_are_named(make_workspace: Make) -> None:
    params = make_workspace("classification")
    long = class_predictions(seed=0, texts=["fever " * 100, "blood " * 80])
    for name in ("scratch-model", "finetune-before", "finetune-after"):
        write_predictions(name, long)
    InputRules(max_source_length=400).save(Path("models/scratch"))  # else they are cut to 64
    figures, reasons = drawn(params)
    assert not any("scratch-encoder-attention" in name for name in figures)
    assert any("finetune-encoder-attention" in name for name in figures)  # as the model reads them
    assert reasons.count("No test row has 2 to 64 tokens.") == 1


def test_a_classifier_has_no_playground_and_the_page_says_why(make_workspace: Make) -> None:
    params = make_workspace("classification")
    _, _, warnings = run(params)
    (told,) = (warning for warning in warnings if warning.startswith("no playground: "))
    assert "EncoderClassifier" in told
    page = Path("reports/playground.html").read_text(encoding="utf-8")
    assert told.removeprefix("no playground: ") in page and "<script" not in page


def test_texts_of_the_user_stand_in_the_atlas_and_long_ones_have_a_reason(
    make_workspace: Make,
) -> None:
    params = make_workspace("seq2seq")
    texts = params.visualize.texts.model_copy(
        update={"scratch": ["tactic", "a" * 70], "finetune": ["the weak liver", "fever " * 65]}
    )
    InputRules(max_source_length=100, max_target_length=64).save(Path("models/scratch"))
    InputRules(max_source_length=64).save(Path("models/finetuned"))
    visible = params.visualize.model_copy(update={"texts": texts})
    found: dict[str, Atlas] = {}
    reasons = []
    for section in sections(params.model_copy(update={"visualize": visible}), load_metrics()):
        for item in section.items:
            if isinstance(item, Atlas):
                found[item.name] = item
            elif isinstance(item, Missing):
                reasons.append(item.reason)
    scratch, finetune = found["scratch-atlas"].examples, found["finetune-atlas"].examples
    assert [example.title.split(" → ")[0] for example in scratch][1:] == ["tactic"]
    assert list(scratch[1].maps["Encoder self-attention"]["from scratch"].key_tokens) == [
        *"tactic", "</s>",
    ]  # fmt: skip
    assert "Cross-attention" in scratch[1].maps  # with what the model writes for it
    assert [example.title for example in finetune][1] == "the weak liver"
    assert list(finetune[1].maps["Encoder self-attention"]) == ["before", "after"]
    assert any("'aaaaa" in reason and "has 71 tokens; at most 64" in reason for reason in reasons)
    # The model itself cuts at 64 tokens: what it reads can be shown.
    assert finetune[2].title.startswith("fever fever")
    changed = [example.title.partition(":")[0] for example in finetune[3:]]
    assert changed == ["fixed", "broken", "still wrong"]
