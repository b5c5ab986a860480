"""Tables of what changed, on rows whose changes are known."""

import numpy as np
import pytest

from scratchformer.evaluation.measures.calibration import (
    bin_of,
    expected_calibration_error,
    reliability,
)
from scratchformer.evaluation.reports import comparison, near_duplicates
from scratchformer.evaluation.reports.classification import (
    LabelledRows,
    columns_of,
    prediction_table,
)
from scratchformer.evaluation.reports.scores import differences, scores, values
from scratchformer.evaluation.reports.subgroup_deltas import length_buckets, subgroup_deltas
from scratchformer.evaluation.significance.paired_tests import mcnemar
from scratchformer.evaluation.significance.resampling import Resampling
from scratchformer.evaluation.tracks.class_tables import change_tables

LABELS = ["x", "y", "z"]
TEST = LabelledRows(
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


RESAMPLING = Resampling(resamples=400, confidence=0.95, seed=0)


def test_changed_rows() -> None:
    records = comparison.changed_rows(TEST, BEFORE, AFTER)
    assert [(r["outcome"], r["id"]) for r in records] == [
        ("fixed", "2"), ("broken", "3"), ("still wrong", "4"), ("still right", "1"),
    ]  # fmt: skip
    assert records[0]["gain"] == pytest.approx(0.5)
    assert (records[1]["before"], records[1]["after"], records[1]["label"]) == ("y", "x", "y")


def test_the_largest_change_comes_first() -> None:
    test = LabelledRows(["a", "b", "c"], ["t"] * 3, ["g"] * 3, np.zeros(3, int), ["x", "y"])
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


def test_a_subgroup_delta_is_the_difference_in_that_kind() -> None:
    random = np.random.default_rng(0)
    kind = random.integers(0, 2, 400)
    before = random.random(400) < 0.5
    after = np.where(kind == 1, True, before)  # only kind 1 improves
    groups = [str(i) for i in range(400)]
    same, better = subgroup_deltas(
        kind, ["same", "better", "absent"], before, after, groups, RESAMPLING
    )
    assert same["difference"] == 0 and same["low"] is None  # no row of it changes: no spread
    assert better["rows"] == (kind == 1).sum()
    assert better["difference"] == pytest.approx(better["after"] - better["before"], abs=1e-6)
    assert 0.3 < better["low"] < better["difference"] < better["high"] < 0.7


def test_length_buckets() -> None:
    texts = [" ".join(["w"] * n) for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)]
    bucket, names = length_buckets(texts)
    assert bucket.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert names[0] == "1–2 words" and names[-1] == "9–10 words"
    assert length_buckets(["ab", "abc", "abcd"])[1][0] == "2 characters"


def test_near_duplicates_are_flagged() -> None:
    train = ["Fracture of left femur", "Cholera due to Vibrio", "Benign neoplasm of skin"]
    found = near_duplicates.near_duplicates(
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


@pytest.mark.parametrize(("groups", "has_interval"), [(4, False), (5, True)])
def test_a_kind_in_few_groups_has_no_interval(groups: int, has_interval: bool) -> None:
    kind = np.r_[np.zeros(8, int), np.ones(50, int)]
    group = [str(i % groups) for i in range(8)] + [f"other{i}" for i in range(50)]
    before = np.zeros(58)
    after = np.r_[1, 1, 1, 0, 0, 0, 1, 0, np.tile([0, 1], 25)]
    few, many = subgroup_deltas(kind, ["few", "many"], before, after, group, RESAMPLING)
    assert few["difference"] == 0.5
    assert (few["low"] is not None) == (few["high"] is not None) == has_interval
    assert many["low"] < many["difference"] < many["high"]


@pytest.mark.parametrize("similarity", [0.9 - 1e-4, 0.9 + 1e-4])
def test_the_threshold_of_near_duplicates(
    similarity: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two texts of known similarity, on each side of the limit."""
    pieces = near_duplicates.TrainingPieces.of(["one two three four", "five"])
    real = pieces.nearest(["one two three for"]).similarity[0]
    assert near_duplicates.NEAR_DUPLICATE == 0.9
    monkeypatch.setattr(near_duplicates, "NEAR_DUPLICATE", real + 0.9 - similarity)
    found = near_duplicates.near_duplicates(["one two three four", "five"], ["1"],
                                            ["one two three for"])  # fmt: skip
    assert len(found) == (similarity > 0.9)


def test_the_edges_of_the_bins() -> None:
    assert bin_of([0.0, 0.1, 0.1 + 1e-9, 0.55, 0.6, 0.6 + 1e-9, 1.0]).tolist() == [
        0, 0, 1, 5, 5, 6, 9,
    ]  # fmt: skip


def test_report_and_prediction_table() -> None:
    report = scores(columns_of(TEST, AFTER), TEST.groups, RESAMPLING)
    assert report["accuracy"] == 0.5
    assert report["macro_f1"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert report["loss"] == pytest.approx(-np.log([0.7, 0.8, 0.4, 0.3]).mean(), rel=1e-5)
    assert report["intervals"] == {}  # three groups say nothing of others
    table = prediction_table(TEST, AFTER)
    assert table.column("prediction").to_pylist() == ["x", "y", "x", "y"]
    assert table.column("label").to_pylist() == ["x", "y", "y", "z"]
    assert table.column("confidence").to_pylist() == pytest.approx([0.7, 0.8, 0.5, 0.6])


def random_rows(labels: int, count: int, seed: int) -> tuple[LabelledRows, np.ndarray]:
    random = np.random.default_rng(seed)
    gold = random.integers(0, labels, count)
    probabilities = random.dirichlet(np.ones(labels), count).astype(np.float32)
    ids = [str(i) for i in range(count)]
    names = [f"l{i}" for i in range(labels)]
    return LabelledRows(ids, ids, ids, gold, names), probabilities


def test_every_measure_is_what_the_libraries_say() -> None:
    from sklearn.metrics import accuracy_score, f1_score, log_loss

    rows, probabilities = random_rows(6, 300, seed=1)
    found = values(columns_of(rows, probabilities))
    predicted = probabilities.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(accuracy_score(rows.gold, predicted))
    assert found["macro_f1"] == pytest.approx(f1_score(rows.gold, predicted, average="macro"))
    wide = probabilities.astype(float) / probabilities.sum(axis=1, keepdims=True, dtype=float)
    assert found["loss"] == pytest.approx(log_loss(rows.gold, wide, labels=range(6)), rel=1e-5)
    bins = reliability(probabilities.max(axis=1), predicted == rows.gold)
    assert found["ece"] == pytest.approx(expected_calibration_error(bins))
    assert set(found) == {"accuracy", "macro_f1", "loss", "ece"}


@pytest.mark.filterwarnings("error")
def test_six_hundred_labels_of_which_most_are_absent_warn_of_nothing() -> None:
    rows, probabilities = random_rows(600, 40, seed=2)
    _, other = random_rows(600, 40, seed=3)
    few = Resampling(resamples=100, confidence=0.95, seed=0)
    report = scores(columns_of(rows, probabilities), rows.groups, few)
    assert report["macro_f1"] <= 0.1
    found = differences(columns_of(rows, probabilities), columns_of(rows, other), rows.groups, few)
    assert set(found) == {"accuracy", "macro_f1", "loss", "ece"}
    subgroup_deltas(rows.gold, rows.labels, rows.right(probabilities), rows.right(other),
                    rows.groups, few)  # fmt: skip


def test_difference_has_its_sign_and_its_tests() -> None:
    before, after = columns_of(TEST, BEFORE), columns_of(TEST, AFTER)
    found = differences(after, before, TEST.groups, RESAMPLING)
    assert found["accuracy"]["value"] == 0
    counts = mcnemar(TEST.right(AFTER), TEST.right(BEFORE))
    assert (counts["fixed"], counts["broken"]) == (1, 1)
    perfect = columns_of(TEST, np.eye(3, dtype=np.float32)[TEST.gold])
    found = differences(perfect, before, TEST.groups, RESAMPLING)
    assert found["accuracy"]["value"] == 0.5 and found["loss"]["value"] < 0
    assert found["macro_f1"]["value"] > 0


@pytest.mark.parametrize(
    ("train", "found"),
    [
        (["nothing alike"], {"rows": 0, "share": 0.0, "accuracy_without": 0.5}),
        (TEST.texts[2:3], {"rows": 1, "share": 0.25, "accuracy_without": 2 / 3}),
        (TEST.texts, {"rows": 4, "share": 1.0}),
    ],
)
def test_the_accuracy_without_near_duplicates(train: list[str], found: dict[str, float]) -> None:
    _, facts = change_tables(TEST, {"before": BEFORE, "after": AFTER}, train, RESAMPLING)
    assert facts["near_duplicates"] == pytest.approx(found)
