"""What stands first is written from the numbers, whichever way they point."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.visualization.conftest import metrics_of, write_data_report

from scratchformer.base.tasks import TaskName
from scratchformer.params import Params
from scratchformer.record.metrics import parse_metrics
from scratchformer.visualization.analysis.headline import headline
from scratchformer.visualization.report.first_screen import FirstScreen, first_screen

Make = Callable[[TaskName], Params]


def screen(params: Params, change: Callable[[dict[str, Any]], None] = lambda values: None) -> Any:
    values = metrics_of("seq2seq")
    change(values)
    return first_screen(params, parse_metrics(values))


def texts(found: FirstScreen) -> list[str]:
    return [check.text for check in found.checks]


def test_the_three_numbers_with_their_intervals(make_workspace: Make) -> None:
    found = screen(make_workspace("seq2seq"))
    numbers = [(each.role, each.value, each.interval) for each in found.tracks[1].numbers]
    assert numbers == [
        ("before", "40.0 %", "[30.0, 50.0]"), ("model", "40.0 %", "[30.0, 50.0]"),
        ("control", "40.0 %", "[30.0, 50.0]"), ("difference", "+30.0 points", "[+10.0, +50.0]"),
    ]  # fmt: skip
    assert "fine-tuned on" in found.tracks[1].what and "8 other rows" in found.tracks[0].what
    assert "11 other rows in 9 groups" in found.tracks[1].what


@pytest.mark.parametrize(
    ("low", "high", "value", "said"),
    [
        (-0.3, -0.1, -0.2, "Better than the best baseline (copy of the source)"),
        (0.1, 0.3, 0.2, "Worse than the best baseline (copy of the source)"),
        (-0.3, 0.1, -0.1, "Not shown to be better than the best baseline"),
    ],
)
def test_fewer_errors_are_better(
    make_workspace: Make, low: float, high: float, value: float, said: str
) -> None:
    def change(values: dict[str, Any]) -> None:
        difference = {"value": value, "low": low, "high": high, "p_value": 0.03}
        values["scratch"]["against"] = {"copy": {"wer": difference}}

    verdict = screen(make_workspace("seq2seq"), change).tracks[0].verdict
    assert verdict.startswith(said)
    assert f"{100 * value:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}], p = 0.0300" in verdict
    assert "In word error rate, lower is better." in verdict


def test_the_rival_is_the_best_control_and_not_the_model_from_scratch() -> None:
    values = metrics_of("classification")
    score = values["finetune"]["after"]
    values["finetune"]["baselines"] = {
        name: {**score, "accuracy": accuracy}
        for name, accuracy in (("majority", 0.1), ("tfidf", 0.5), ("scratch", 0.9))
    }
    head = headline(parse_metrics(values).tracks["finetune"])
    assert head.rival is not None and head.rival.name == "tfidf"
    assert head.outcome == "unclear"  # the two were not compared row by row


def test_without_a_control_nobody_says_better(make_workspace: Make) -> None:
    def change(values: dict[str, Any]) -> None:
        values["scratch"]["baselines"] = {}

    track = screen(make_workspace("seq2seq"), change).tracks[0]
    assert track.outcome == "alone" and "No baseline was measured" in track.verdict


def test_harm_is_called_harm(make_workspace: Make) -> None:
    def change(values: dict[str, Any]) -> None:
        values["finetune"]["delta"]["accuracy"] |= {"value": -0.3, "low": -0.4, "high": -0.2}

    assert "Fine-tuning did harm: -30.0 points" in screen(
        make_workspace("seq2seq"), change
    ).tracks[1].verdict


def test_leaks_gates_and_seeds_are_told(make_workspace: Make) -> None:
    params = make_workspace("seq2seq")
    write_data_report(across_splits=3)
    Path("reports/history/scratch/not_finite.csv").write_text("step\n5\n9\n")
    skipping = params.train_scratch.model_copy(update={"skip_gates": ["future"]})

    def change(values: dict[str, Any]) -> None:
        values["finetune"]["near_duplicates"] = {
            "rows": 2, "share": 0.2, "accuracy_without": 0.3,
        }  # fmt: skip

    found = screen(params.model_copy(update={"train_scratch": skipping}), change)
    said = " ".join(texts(found))
    assert "3 rows that were in two splits were taken out" in said
    near = "2 test rows (20.0%) have a near-duplicate in the training split"
    assert f"{near}; without them accuracy is 30.0%" in said
    assert "these checks before the training were skipped: future" in said
    assert "the loss of 2 updates was not finite" in said
    assert "trained once, with seed 42" in said
    assert [check.state for check in found.checks if "skipped" in check.text] == ["bad"]


def test_a_validation_score_above_the_test_interval_is_told(make_workspace: Make) -> None:
    def change(values: dict[str, Any]) -> None:
        values["finetune"]["valid"]["after"] = {"accuracy": 0.9}
        values["finetune"]["train"] = {"rows": 4, "accuracy": 0.995}

    params = make_workspace("seq2seq")
    found = screen(params, change)
    (said,) = (text for text in texts(found) if "favour the validation" in text)
    assert "(99.5 % on rows that it was trained on)" in said
    assert "90.0 % on the validation split" in said and "40.0 % on the test split" in said
    found = screen(
        params,
        lambda values: values["finetune"]["valid"].update(after={"accuracy": 0.45}),
    )
    assert not any("favour the validation" in text for text in texts(found))


def test_no_figure_of_another_run_is_quoted(make_workspace: Make) -> None:
    """Every number of the answers is one of this run's."""
    found = screen(make_workspace("seq2seq"))
    known = json.dumps(metrics_of("seq2seq"))
    for answer in found.tracks:
        for number in answer.numbers:
            share = float(number.value.split()[0]) / 100
            assert f"{share:g}" in known
