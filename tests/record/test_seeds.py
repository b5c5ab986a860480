"""`scratchformer seeds`: one experiment a seed, and what they have in common."""

import subprocess
import sys
from pathlib import Path
from statistics import stdev

import pytest

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.base.measures import MEASURES
from scratchformer.record.seeds import run_seeds, summarise

DVC_YAML = """
stages:
  evaluate:
    cmd: python evaluate.py
    params: [run.seed]
    outs:
      - reports/metrics.json: {cache: false}
metrics: [reports/metrics.json]
"""
EVALUATE = """
import json, pathlib, re, sys
seed = int(re.search(r"seed: (\\d+)", pathlib.Path("params.yaml").read_text()).group(1))
if seed == 13:
    sys.exit(3)
pathlib.Path("reports").mkdir(exist_ok=True)
pathlib.Path("reports/metrics.json").write_text(
    json.dumps({"finetune": {"after": {"accuracy": seed / 10}, "n": 9}}))
"""


def record(accuracy: float, change: float) -> dict[str, object]:
    return {
        "finetune": {
            "after": {"accuracy": accuracy, "intervals": {"accuracy": {"low": 0, "high": 1}}},
            "delta": {"accuracy": {"value": change, "low": 0, "high": 1}},
            "valid": {"after": {"accuracy": accuracy / 2}},
            "against": {"tfidf": {"accuracy": {"value": 5}}},
            "n": 100,
        },
        "method": {"confidence": 0.95},
    }


def test_mean_spread_and_interval() -> None:
    first, second, valid = summarise([record(0.6, 0.1), record(0.8, 0.2), record(0.7, 0.6)])
    assert valid["measure"] == "finetune.valid.after.accuracy"
    assert valid["mean"] == pytest.approx(0.35)
    assert first["measure"] == "finetune.after.accuracy"
    assert second["measure"] == "finetune.delta.accuracy"
    assert (first["n"], first["mean"]) == (3, pytest.approx(0.7))
    assert first["deviation"] == pytest.approx(stdev([0.6, 0.8, 0.7])) == pytest.approx(0.1)
    # Student's t with two degrees of freedom: 4.3027.
    assert first["high"] - first["mean"] == pytest.approx(4.3027 * 0.1 / 3**0.5, rel=1e-4)
    assert first["low"] == pytest.approx(1.4 - first["high"])


def test_what_only_one_seed_has_is_left_out() -> None:
    assert [r["measure"] for r in summarise([{"scratch": {"wer": 1, "per": 2}}, {"scratch":
            {"wer": 2}}])] == ["scratch.wer"]  # fmt: skip


@pytest.mark.parametrize("seeds", [[1], [2, 2]])
def test_one_seed_has_no_spread(seeds: list[int]) -> None:
    with pytest.raises(ParamsError, match="two or more different"):
        run_seeds(seeds)


@pytest.mark.slow
def test_experiments_leave_the_workspace_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for key in ("DVC_ROOT", "GIT_DIR"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    (tmp_path / "params.yaml").write_text("run:\n  seed: 42\n")
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "evaluate.py").write_text(EVALUATE)
    (tmp_path / "reports").mkdir()
    metrics = tmp_path / "reports" / "metrics.json"
    metrics.write_text("{}")
    for command in (
        ["git", "init", "-q"], ["git", "config", "user.email", "a@b.c"],
        ["git", "config", "user.name", "a"], [sys.executable, "-m", "dvc", "init", "-q"],
    ):  # fmt: skip
        subprocess.run(command, check=True)
    with pytest.raises(DataError, match="not in Git"):
        run_seeds([3, 5])
    for command in (["git", "add", "-A"], ["git", "commit", "-qm", "Start"]):
        subprocess.run(command, check=True)
    results = run_seeds([3, 5])
    assert [result["finetune"]["after"]["accuracy"] for result in results] == [0.3, 0.5]
    (only,) = summarise(results)
    assert only["mean"] == pytest.approx(0.4)
    assert (tmp_path / "params.yaml").read_text() == "run:\n  seed: 42\n"
    assert metrics.read_text() == "{}"
    with pytest.raises(DataError, match="seed 13: dvc exp run ended with code"):
        run_seeds([3, 13])


@pytest.mark.parametrize("key", MEASURES)
def test_every_measure_of_the_registry_is_summarised(key: str) -> None:
    (found,) = summarise([{"scratch": {key: 0.5, "n": 3}}, {"scratch": {key: 0.7, "n": 3}}])
    assert found["measure"] == f"scratch.{key}" and found["mean"] == pytest.approx(0.6)
