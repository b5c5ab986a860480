"""reports/metrics.json is checked: systems are read alike, a broken file is one clear line."""

import copy
from pathlib import Path
from typing import Any

import pytest

from scratchformer.base.errors import DataError
from scratchformer.record.metrics import Difference, load_metrics, parse_metrics


def scored(accuracy: float, **more: Any) -> dict[str, Any]:
    return {"accuracy": accuracy, "intervals": {"accuracy": {"low": 0.1, "high": 0.9}}, **more}


CHANGE = {"accuracy": {"value": 0.2, "low": 0.1, "high": 0.3, "p_value": 0.01}}
VALUES: dict[str, Any] = {
    "scratch": {
        "task": "seq2seq", "output": "words", "n": 5, "groups": 5, "wer": 0.3,
        "valid": {"wer": 0.4, "baselines": {"copy": {"wer": 1.0}}},
        "baselines": {"copy": {"wer": 1}},
        "against": {"copy": {"wer": {"value": -0.7, "p_value": 0.5}}},
    },
    "finetune": {
        "task": "classification", "n": 9, "groups": 3, "before": scored(0.5, temperature=2.0),
        "after": scored(0.7), "delta": CHANGE, "near_duplicates": {"rows": 1, "share": 0.1},
        "valid": {"before": {"accuracy": 0.45}, "after": {"accuracy": 0.75},
                  "baselines": {"tfidf": {"accuracy": 0.6}}},
        "baselines": {"tfidf": scored(0.6, C=10.0)}, "against": {"tfidf": CHANGE},
    },
    "method": {"confidence": 0.95, "resamples": 1999, "interval": "BCa"},
}  # fmt: skip


def test_every_system_is_read_alike() -> None:
    metrics = parse_metrics(VALUES)
    scratch, finetune = metrics.tracks["scratch"], metrics.tracks["finetune"]
    assert scratch.own.name == "scratch" and dict(scratch.own.scores) == {"wer": 0.3}
    assert dict(scratch.own.valid) == {"wer": 0.4} and scratch.output == "words"
    assert dict(scratch.systems["copy"].valid) == {"wer": 1.0}
    assert scratch.differences["copy"]["wer"] == Difference(-0.7, None, None, 0.5)
    assert not scratch.grouped and finetune.grouped
    assert finetune.own.name == "after" and finetune.own.ends("accuracy") == (0.1, 0.9)
    assert set(finetune.systems) == {"before", "after", "tfidf"}
    assert finetune.systems["tfidf"].valid["accuracy"] == 0.6
    assert finetune.systems["tfidf"].notes == {"C": 10.0}
    assert set(finetune.differences) == {"before", "tfidf"}
    assert finetune.differences["before"]["accuracy"] == Difference(0.2, 0.1, 0.3, 0.01)
    assert metrics.smallest_p == 1 / 2000


def without(*path: str) -> dict[str, Any]:
    values = copy.deepcopy(VALUES)
    node = values
    for key in path[:-1]:
        node = node[key]
    del node[path[-1]]
    return values


def with_value(value: Any, *path: str) -> dict[str, Any]:
    values = copy.deepcopy(VALUES)
    node = values
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return values


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (without("scratch", "valid"), "scratch.valid: missing"),
        (without("finetune", "after"), "finetune.after: missing"),
        (without("method"), "method: missing"),
        (without("scratch", "wer"), "scratch: expected measures such as accuracy"),
        (with_value("x", "finetune", "after", "accuracy"),
         "finetune.after.accuracy: expected a number, found 'x'"),
        (with_value(True, "scratch", "wer"), "scratch.wer: expected a number, found True"),
        (with_value(2.5, "scratch", "n"), "scratch.n: expected a whole number, found 2.5"),
        (with_value(1.2, "scratch", "against", "copy", "wer", "p_value"),
         "scratch.against.copy.wer.p_value: expected 0 to 1, found 1.2"),
        (with_value(0.3, "scratch", "werr"), "scratch.werr: unknown"),
        (with_value({"low": 0}, "finetune", "after", "intervals", "accuracy"),
         "finetune.after.intervals.accuracy.high: missing"),
        (with_value({"low": 0, "high": 1}, "finetune", "after", "intervals", "ece"),
         "finetune.after.intervals.ece: no such score"),
        (with_value({"wer": 1.0}, "scratch", "valid", "baselines", "none"),
         "scratch.valid.baselines.none: no such system"),
        (with_value([], "scratch", "baselines", "copy"),
         "scratch.baselines.copy: expected an object, found []"),
        ([], "the whole: expected an object, found []"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_one_line(values: Any, told: str) -> None:
    with pytest.raises(DataError) as error:
        parse_metrics(values)
    assert str(error.value).startswith(f"reports/metrics.json: {told}")
    assert str(error.value).endswith("make it again with: dvc repro evaluate")
    assert "\n" not in str(error.value)


def test_a_missing_or_torn_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    with pytest.raises(DataError, match=r"metrics\.json: not found; make it with: dvc repro"):
        load_metrics(path)
    path.write_text('{"scratch": ')
    with pytest.raises(DataError, match=r"metrics\.json: not readable as JSON.*again with: dvc"):
        load_metrics(path)
