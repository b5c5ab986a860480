"""reports/metrics.json is shown as it is, whatever systems and measures it holds."""

from typing import Any

from tests.visualization.conftest import metrics_of

from scratchformer.record.metrics import Metrics, TrackScores, parse_metrics
from scratchformer.visualization.analysis.results import difference_rows, method, scores_of_track
from scratchformer.visualization.report.page.items import Missing, Picture, Table
from scratchformer.visualization.report.section_results import results_section


def parsed(**scratch: Any) -> Metrics:
    """Metrics whose scratch track has these entries too."""
    values = metrics_of("seq2seq")
    values["scratch"] |= scratch
    return parse_metrics(values)


def finetune() -> TrackScores:
    return parsed().tracks["finetune"]


def test_controls_come_first_and_intervals_stay_with_their_measure() -> None:
    scores = scores_of_track(finetune())
    assert [score.system for score in scores if score.measure.key == "accuracy"] == [
        "majority class", "pretrained, before (zero-shot)", "pretrained, after fine-tuning",
    ]  # fmt: skip
    assert [score.role for score in scores[::2]] == ["control", "before", "after"]
    accuracy, macro = scores[0], scores[1]
    assert (accuracy.low, accuracy.high) == (0.3, 0.5)
    assert (macro.measure.key, macro.low) == ("macro_f1", None)
    assert accuracy.text() == "40.0 % [30.0, 50.0]"


def test_differences_carry_their_tests() -> None:
    rows = difference_rows(finetune(), smallest_p=0.01)
    assert rows == [
        ["majority class", "accuracy", "+30.0 points [+10.0, +50.0]", "0.2500"],
        ["pretrained, before (zero-shot)", "accuracy", "+30.0 points [+10.0, +50.0]", "0.2500"],
    ]
    assert difference_rows(finetune(), smallest_p=0.25)[0][3] == "p ≤ 0.2"


def test_exact_match_is_not_repeated_beside_the_word_error_rate() -> None:
    both = {"value": -0.2, "p_value": 0.5}
    metrics = parsed(exact_match=0.6, against={"copy": {"wer": both, "exact_match": both}})
    track = metrics.tracks["scratch"]
    own = [score.measure.key for score in scores_of_track(track) if score.role == "after"]
    assert own == ["wer", "per", "loss"]
    assert [row[1] for row in difference_rows(track, 0.01)] == ["word error rate"]
    metrics = parsed(against={"copy": {"exact_match": both}})
    (row,) = difference_rows(metrics.tracks["scratch"], 0.01)
    assert row[1:3] == ["exact match", "-20.0 points"]


def test_the_method_names_groups_only_where_there_are_some() -> None:
    metrics = parsed()
    said = [method(metrics, track) for track in metrics.tracks.values()]
    assert said == [
        "95% bootstrap intervals (100 resamples of rows)",
        "95% bootstrap intervals (100 resamples of 9 groups)",
    ]


def test_the_section_has_figures_tables_and_what_is_missing() -> None:
    values = metrics_of("classification")
    items = list(results_section(parse_metrics(values)).items)
    assert [item.name for item in items if isinstance(item, Picture)] == [
        "scratch-scores", "finetune-scores",
    ]  # fmt: skip
    tables = [item for item in items if isinstance(item, Table)]
    assert tables[0].columns == ["system", "accuracy", "macro-F1", "loss (nats)"]
    assert "11 test rows" in tables[1].how
    del values["scratch"]
    assert isinstance(next(iter(results_section(parse_metrics(values)).items)), Missing)
