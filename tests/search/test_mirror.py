"""Trials in MLflow: one run each below that of the search, once, whatever MLflow does."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.search.test_search import RATE, params, space_of, trainer

from scratchformer.base.files import write_json
from scratchformer.params import Params
from scratchformer.search import mirror as mirrors
from scratchformer.search import trial as trials
from scratchformer.search.watching import Watcher
from scratchformer.tracking.execution import this_process
from scratchformer.tracking.mirror.parent import PARENT_ID
from scratchformer.tracking.mirror.store import Store

__all__ = ["params"]
BOTH = {RATE: [0.03, 0.02], "train_scratch.model.num_heads": [2, 3]}  # 3 heads do not fit


def test_every_trial_is_a_run_once_and_says_how_it_ended(
    params: Params, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    space = space_of(halving=2, space=BOTH)
    monkeypatch.setattr(trials, "train_in", trainer({0.03: [2.0, 1.0], 0.02: [3.0, 2.5]}))
    trials.run_next(space, params)
    store = Store(tmp_path, "toy")
    process = this_process()
    assert mirrors.mirror(store, space, process) == 2  # the search, and its first trial
    assert mirrors.mirror(store, space, process) == 0
    (parent,) = store.search(tags={"scratchformer.kind": "search"})
    assert parent.info.status == "RUNNING" and parent.data.metrics["best.loss"] == 1.0
    assert "0.02" in parent.data.params[RATE]
    while trials.run_next(space, params):
        pass
    settings = [{"mean": 1.5, "difference": 0}, {"mean": 1.25, "difference": -0.25}]
    write_json(tmp_path / ".search/toy/report.json", {"verdict": "good", "settings": settings})
    assert mirrors.mirror(store, space, process) == 3

    (parent,) = store.search(tags={"scratchformer.kind": "search"})
    assert parent.info.status == "FINISHED" and parent.data.tags["verdict"] == "good"
    assert parent.data.metrics == {
        "trials.complete": 1, "trials.pruned": 1, "trials.fail": 2, "best.loss": 1.0,
        "confirmed.loss": 1.25, "difference.loss": -0.25,
    }  # fmt: skip
    children = {
        run.data.tags["scratchformer.trial"]: run
        for run in store.search(tags={PARENT_ID: parent.info.run_id})
    }
    assert [children[str(n)].data.tags["state"] for n in range(4)] == [
        "complete", "fail", "pruned", "fail",
    ]  # fmt: skip
    assert children["0"].data.params == {RATE: "0.03", "train_scratch.model.num_heads": "2"}
    assert children["0"].data.metrics == {"valid/loss": 1.0, "loss": 1.0}
    assert children["2"].data.tags["reason"].startswith("after validation 1 (update 10): loss 3")
    assert children["1"].info.status == "FAILED" and "d_model" in children["1"].data.tags["reason"]
    curve = store.client.get_metric_history(children["0"].info.run_id, "valid/loss")
    assert [(point.step, point.value) for point in curve] == [(1, 2.0), (2, 1.0)]
    assert mirrors.mirror_searches(tmp_path, "another") == 5  # from the record alone


def test_a_failure_of_mlflow_is_told_and_no_more(
    params: Params, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    space = space_of(space={RATE: [0.03]})
    monkeypatch.setattr(trials, "train_in", trainer({0.03: [1.0]}))
    trials.run_next(space, params)
    Path("mlflow.db").write_text("no database at all, but longer than the header of one " * 9)
    watcher = Watcher(space, enabled=True)
    watcher.look(1)
    watcher.finish()
    told = capfd.readouterr().err
    assert told.count("warning:") == 1 and "MLflow does not show search toy" in told
    assert "the search goes on" in told and json.loads(Path("params.yaml").read_text())
