"""metrics.json is read as it is, whatever systems and metrics it holds."""

from scratchformer.visualization.analysis.results import difference_rows, method, scores_of_track
from scratchformer.visualization.report.page import Missing, Picture, Table
from scratchformer.visualization.report.section_results import results_chapter

from .conftest import metrics_of

CHANGE = {"value": 0.3, "low": 0.1, "high": 0.5}


def test_controls_come_first_and_intervals_stay_with_their_metric() -> None:
    scores = scores_of_track("finetune", metrics_of("seq2seq")["finetune"])
    assert [score.system for score in scores if score.metric == "accuracy"] == [
        "majority class", "pretrained, before (zero-shot)",
        "pretrained, after fine-tuning",
    ]  # fmt: skip
    accuracy, macro = scores[0], scores[1]
    assert (accuracy.low, accuracy.high) == (0.3, 0.5)
    assert (macro.metric, macro.low) == ("macro-F1", None)
    assert accuracy.text() == "0.400 [0.300, 0.500]"


def test_differences_carry_their_tests() -> None:
    rows = difference_rows(metrics_of("seq2seq")["finetune"])
    assert rows[0] == [
        "pretrained, before (zero-shot)", "accuracy", "+0.300", "[+0.100, +0.500]", "",
        "0.250",
    ]  # fmt: skip
    assert rows[1][0] == "majority class"


def test_sequences_are_compared_without_tests_of_labels() -> None:
    change = {"value": -0.2, "low": -0.3, "high": -0.1, "p_value": 0.5}
    node = {"against": {"copy": {"wer": change}}}
    assert difference_rows(node) == [
        ["copy of the source", "word error rate", "-0.200", "[-0.300, -0.100]", "", "0.500"]
    ]


def test_the_permutation_test_of_sequences_is_shown() -> None:
    node = {"against": {"copy": {"exact_match": {**CHANGE, "p_value": 0.04}}}}
    (row,) = difference_rows(node)
    assert row[1:4] == ["exact match", "+0.300", "[+0.100, +0.500]"]


def test_exact_match_is_not_repeated_beside_the_word_error_rate() -> None:
    node = {"wer": 0.4, "exact_match": 0.6}
    assert [score.metric for score in scores_of_track("scratch", node)] == ["word error rate"]
    assert [score.metric for score in scores_of_track("scratch", {"exact_match": 0.6})] == [
        "exact match"
    ]


def test_the_method_names_groups_only_where_there_are_some() -> None:
    metrics = metrics_of("seq2seq")
    assert method(metrics, "scratch") == "95% bootstrap intervals (100 resamples of rows)"
    assert method(metrics, "finetune") == "95% bootstrap intervals (100 resamples of 9 groups)"
    assert "does not name" in method({}, "scratch")


def test_the_chapter_has_figures_tables_and_what_is_missing() -> None:
    metrics = metrics_of("classification")
    items = list(results_chapter(metrics).items)
    assert [item.name for item in items if isinstance(item, Picture)] == [
        "scratch-scores", "finetune-scores",
    ]  # fmt: skip
    tables = [item for item in items if isinstance(item, Table)]
    assert tables[0].columns == ["system", "accuracy", "macro-F1", "loss (nats)"]
    assert "11 test rows" in tables[1].how
    del metrics["scratch"]
    assert isinstance(next(iter(results_chapter(metrics).items)), Missing)
