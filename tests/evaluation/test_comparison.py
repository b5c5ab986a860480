"""Tables of what changed, on rows whose changes are known."""

import numpy as np
import pytest

from scratchformer.evaluation.measures.calibration import expected_calibration_error, reliability
from scratchformer.evaluation.reports import comparison
from scratchformer.evaluation.reports.classification import (
    ClassificationTest,
    classification_difference,
    classification_report,
    prediction_table,
)
from scratchformer.evaluation.significance.bootstrap import Resampling, bootstrap

LABELS = ["x", "y", "z"]
TEST = ClassificationTest(
    ids=["1", "2", "3", "4"],
    texts=["one", "two words", "three words here", "four words are here"],
    groups=["a", "a", "b", "c"],
    gold=np.array([0, 1, 1, 2]),
    labels=LABELS,
)
BEFORE = np.array(
    [[0.6, 0.2, 0.2], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.9, 0.05, 0.05]], np.float32
)
AFTER = np.array(
    [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.4, 0.1], [0.1, 0.6, 0.3]], np.float32
)


def resampling(groups: list[str]) -> Resampling:
    return Resampling(groups, resamples=400, confidence=0.95, seed=0)


def test_changed_rows() -> None:
    records = comparison.changed_rows(TEST, BEFORE, AFTER)
    assert [(r["outcome"], r["id"]) for r in records] == [
        ("fixed", "2"), ("broken", "3"), ("still wrong", "4"), ("still right", "1"),
    ]  # fmt: skip
    assert records[0]["gain"] == pytest.approx(0.5)
    assert (records[1]["before"], records[1]["after"], records[1]["label"]) == ("y", "x", "y")


def test_the_largest_change_comes_first() -> None:
    test = ClassificationTest(["a", "b", "c"], ["t"] * 3, ["g"] * 3, np.zeros(3, int), ["x", "y"])
    before = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]], np.float32)
    after = np.array([[0.3, 0.7], [0.1, 0.9], [0.2, 0.8]], np.float32)
    broken = comparison.changed_rows(test, before, after)
    assert [record["id"] for record in broken] == ["b", "a", "c"]
    assert [record["id"] for record in comparison.changed_rows(test, after, before)] == [
        "b", "a", "c",
    ]  # fmt: skip


def test_confident_errors_and_confusion_pairs() -> None:
    errors = comparison.confident_errors(TEST, AFTER)
    assert [(e["id"], e["prediction"], e["confidence"]) for e in errors] == [
        ("4", "y", pytest.approx(0.6)), ("3", "x", pytest.approx(0.5)),
    ]  # fmt: skip
    pairs = comparison.confusion_pairs(TEST, {"before": BEFORE, "after": AFTER})
    assert {"label": "z", "prediction": "x", "before": 1, "after": 0} in pairs
    assert {"label": "y", "prediction": "x", "before": 1, "after": 1} in pairs
    assert len(pairs) == 3 and pairs[-1]["after"] == 0


def test_class_table() -> None:
    table = {record["label"]: record for record in comparison.class_table(TEST, {"s": AFTER})}
    assert (table["y"]["rows"], table["y"]["s_recall"], table["y"]["s_precision"]) == (2, 0.5, 0.5)
    assert table["x"]["s_precision"] == 0.5 and table["x"]["s_recall"] == 1.0
    assert table["z"]["s_f1"] == 0


def test_effect_by_kind_is_the_difference_in_that_kind() -> None:
    random = np.random.default_rng(0)
    kind = random.integers(0, 2, 400)
    before = random.random(400) < 0.5
    after = np.where(kind == 1, True, before)  # only kind 1 improves
    groups = [str(i) for i in range(400)]
    same, better = comparison.effect_by(
        kind, ["same", "better", "absent"], before, after, resampling(groups)
    )
    assert same["difference"] == same["low"] == same["high"] == 0
    assert better["rows"] == (kind == 1).sum()
    assert better["difference"] == pytest.approx(better["after"] - better["before"], abs=1e-6)
    assert 0.3 < better["low"] < better["difference"] < better["high"] < 0.7


def test_length_buckets() -> None:
    texts = [" ".join(["w"] * n) for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)]
    bucket, names = comparison.length_buckets(texts)
    assert bucket.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert names[0] == "1–2 words" and names[-1] == "9–10 words"
    assert comparison.length_buckets(["ab", "abc", "abcd"])[1][0] == "2 characters"


def test_near_duplicates_are_flagged() -> None:
    train = ["Fracture of left femur", "Cholera due to Vibrio", "Benign neoplasm of skin"]
    found = comparison.near_duplicates(
        train, ["1", "2"], ["fracture of  Left femur", "Typhoid fever"]
    )
    assert [(r["id"], r["train_text"]) for r in found] == [("1", "Fracture of left femur")]


def test_calibration_against_counts_by_hand() -> None:
    bins = reliability([0.95, 0.91, 0.65, 0.65, 1.0], [1, 0, 1, 1, 1], bins=10)
    assert [(round(b.low, 1), b.rows, b.accuracy) for b in bins] == [
        (0.6, 2, 1.0), (0.9, 3, pytest.approx(2 / 3)),
    ]  # fmt: skip
    claimed = (0.95 + 0.91 + 1.0) / 3
    expected = (2 * 0.35 + 3 * abs(claimed - 2 / 3)) / 5
    assert expected_calibration_error(bins) == pytest.approx(expected)


def test_a_calibrated_system_has_a_small_error_and_a_boastful_one_a_large_one() -> None:
    random = np.random.default_rng(0)
    confidence = random.uniform(0.3, 1.0, 20_000)
    right = random.random(20_000) < confidence
    assert expected_calibration_error(reliability(confidence, right)) < 0.02
    boast = np.sqrt(confidence)
    assert expected_calibration_error(reliability(boast, right)) > 0.1


def test_report_and_prediction_table() -> None:
    report = classification_report(TEST, AFTER, resampling(TEST.groups))
    assert report["accuracy"] == 0.5
    assert report["macro_f1"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert report["loss"] == pytest.approx(-np.log([0.7, 0.8, 0.4, 0.3]).mean(), rel=1e-5)
    ends = report["intervals"]["accuracy"]
    assert 0 <= ends["low"] <= 0.5 <= ends["high"] <= 1
    table = prediction_table(TEST, AFTER)
    assert table.column("prediction").to_pylist() == ["x", "y", "x", "y"]
    assert table.column("label").to_pylist() == ["x", "y", "y", "z"]
    assert table.column("confidence").to_pylist() == pytest.approx([0.7, 0.8, 0.5, 0.6])


def test_the_bootstrap_computes_the_same_f1_as_the_metric() -> None:
    """The interval must be that of the reported number, also with labels that never occur."""
    random = np.random.default_rng(1)
    gold, probabilities = random.integers(0, 6, 300), random.random((300, 8)).astype(np.float32)
    rows = [str(i) for i in range(300)]
    test = ClassificationTest(rows, rows, rows, gold, list("abcdefgh"))
    from scratchformer.evaluation.reports import classification

    columns = classification._columns(test, probabilities)
    inside = bootstrap(columns, classification._STATISTICS, resampling(rows))
    report = classification_report(test, probabilities, resampling(rows))
    assert inside["macro_f1"].value == pytest.approx(report["macro_f1"])
    assert inside["accuracy"].value == pytest.approx(report["accuracy"])


def test_difference_has_its_sign_and_its_tests() -> None:
    found = classification_difference(TEST, AFTER, BEFORE, resampling(TEST.groups))
    assert found["delta"]["accuracy"]["value"] == 0
    assert (found["mcnemar"]["fixed"], found["mcnemar"]["broken"]) == (1, 1)
    perfect = np.eye(3, dtype=np.float32)[TEST.gold]
    found = classification_difference(TEST, perfect, BEFORE, resampling(TEST.groups))
    assert found["delta"]["accuracy"]["value"] == 0.5
    assert found["delta"]["macro_f1"]["value"] > 0
