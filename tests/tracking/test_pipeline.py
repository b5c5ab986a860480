"""A small pipeline under the real DVC: `dvc repro`, `dvc exp run`, the queue, and `sync`.

The fixtures are the chapters of one story, each going on where the one before it ended.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryStore
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from tests.committed import DEFAULT_PARAMS

from scratchformer.record.dvc_record import dvc_hash, file_md5, read_stages
from scratchformer.tracking.mirror.store import DATABASE
from scratchformer.tracking.mirror.sync import sync_store

from .conftest import Runs, metrics_json

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PIPELINE = """
stages:
  prepare:
    cmd: python stage.py prepare
    params: [run.seed]
    outs: [data/prepared, {reports/data.json: {cache: false}}]
  train_scratch:
    cmd: python stage.py train_scratch
    deps: [data/prepared]
    params: [train_scratch]
    outs: [models/scratch, reports/history/scratch]
  evaluate:
    cmd: python stage.py evaluate
    deps: [models/scratch]
    params: [evaluate]
    outs: [{reports/metrics.json: {cache: false}}]
  visualize:
    cmd: python stage.py visualize
    deps: [reports/metrics.json, reports/history/scratch]
    params: [visualize]
    outs: [reports/figures, reports/report.html]
metrics: [reports/metrics.json]
"""
STAGE = """
import json, sys
from pathlib import Path
from scratchformer.stages.runner import run_stage
from scratchformer.base.terminal import Summary

def write(name, content):
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))

def prepare(params, run):
    write("data/prepared/scratch/valid.parquet", str(params.run.seed))
    write("reports/data.json", {"rows": 7})
    return Summary("prepare", [], [])

def train_scratch(params, run):
    run.log_input("train", Path("data/prepared"), "training")
    rate = params.train_scratch.optimizer.learning_rate
    rows = ["step,loss"]
    for step in range(1, 6):
        run.log_metrics({"train/loss": rate * step}, step)
        rows.append(f"{step},{rate * step}")
    write("reports/history/scratch/train.csv", "\\n".join(rows) + "\\n")
    write("models/scratch/training.json", {"steps": 5, "rate": rate})
    return Summary("train_scratch", [], [])

def evaluate(params, run):
    rate = json.loads(Path("models/scratch/training.json").read_text())["rate"]
    if params.evaluate.beam_size == 7:
        raise RuntimeError("this beam breaks")
    scratch = {"task": "seq2seq", "n": 8, "groups": 8, "wer": rate * 10}
    scratch["valid"] = {"wer": rate * 20}
    method = {"confidence": 0.95, "resamples": 100, "interval": "BCa"}
    write("reports/metrics.json", {"scratch": scratch, "method": method})
    return Summary("evaluate", [], [])

def visualize(params, run):
    write("reports/figures/loss.png", f"png {params.visualize.error_examples}")
    write("reports/report.html", Path("reports/metrics.json").read_text())
    return Summary("visualize", [], [])

run_stage(globals()[sys.argv[1]])
"""
IGNORED = """
/data
/models
/reports/history
/reports/figures
/reports/report.html
/mlflow.db*
/mlartifacts
"""


@dataclass
class Repository:
    """A repository with DVC, and the commands that a person gives in it."""

    path: Path

    def run(self, *command: str, check: bool = True) -> str:
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("DVC_")},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        done = subprocess.run(
            command, cwd=self.path, env=environment, check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{command}:\n{done.stdout}"
        return done.stdout

    def runs(self) -> Runs:
        return Runs(self.path)

    def replace_store(self, database: Path) -> None:
        """Delete the store and put another there, behind the back of MLflow in this process,
        which would go on with its connections to the deleted file."""
        (self.path / DATABASE).unlink()
        shutil.copy(database, self.path / DATABASE)
        for engines in (SqlAlchemyStore._engine_map, RegistryStore._engine_map):
            for engine in engines.values():
                engine.dispose()

    def models(self) -> list[Any]:
        """The LoggedModels, the oldest first."""
        store = self.runs().store
        return list(store.client.search_logged_models([store.experiment]))[::-1]

    def best(self) -> tuple[int, set[int]]:
        """The version that has the alias, and all versions."""
        client = self.runs().store.client
        (model,) = client.search_registered_models()
        assert model.name == "scratchformer-scratch"
        found = client.search_model_versions(f"name = '{model.name}'")
        return int(model.aliases["best"]), {int(each.version) for each in found}

    def newest(self) -> Any:
        """The parent that was made last."""
        return self.runs().parents()[-1]


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Repository:
    """After the first `dvc repro`, committed."""
    repository = Repository(tmp_path_factory.mktemp("tracking") / "checkout")
    repository.path.mkdir()
    for name, text in {"dvc.yaml": PIPELINE, "stage.py": STAGE, ".gitignore": IGNORED}.items():
        (repository.path / name).write_text(text)
    params = DEFAULT_PARAMS.read_text(encoding="utf-8")
    section, found, rest = params.partition("\ntrain_scratch:")
    rest = re.sub(r"(?m)^(    learning_rate:) \S+", r"\1 0.002", rest, count=1)
    (repository.path / "params.yaml").write_text(section + found + rest, encoding="utf-8")
    shutil.copy(empty_database, repository.path / DATABASE)
    repository.run("git", "init", "--quiet", "--initial-branch=main")
    repository.run("git", "config", "user.name", "Test")
    repository.run("git", "config", "user.email", "test@example.org")
    repository.run("dvc", "init", "--quiet")
    repository.run("dvc", "config", "core.analytics", "false")
    repository.run("dvc", "repro")
    repository.run("git", "add", "--all")
    repository.run("git", "commit", "--quiet", "--message", "Reproduce")
    return repository


def test_one_parent_and_a_child_for_each_stage(reproduced: Repository) -> None:
    runs = reproduced.runs()
    (parent,) = runs.parents()
    children = runs.children(parent)
    assert set(children) == {"prepare", "train_scratch", "evaluate", "visualize"}
    assert {run.info.status for run in [parent, *children.values()]} == {"FINISHED"}
    assert parent.data.tags["mlflow.source.name"] == "dvc repro"
    assert parent.data.metrics == {
        "test/scratch.wer": 0.02,
        "valid/scratch.wer": 0.04,
        "work/scratch.updates": 5.0,
    }
    assert runs.files(parent) == {"figures/loss.png", "report.html", "metrics.json", "data.json"}
    assert len(runs.curve(children["train_scratch"], "train/loss")) == 5


def test_digests_and_hashes_are_those_of_dvc(reproduced: Repository) -> None:
    """`dvc_hash` computes what DVC computes, for files and folders."""
    lock = read_stages(reproduced.path / "dvc.lock")
    outs = {out["path"]: out["md5"] for stage in lock.values() for out in stage["outs"]}
    assert len(outs) == 7 and any(md5.endswith(".dir") for md5 in outs.values())
    assert {path: dvc_hash(reproduced.path / path) for path in outs} == outs
    runs = reproduced.runs()
    (parent,) = runs.parents()
    tags = {key: value for key, value in parent.data.tags.items() if key.startswith("dvc.out.")}
    assert tags == {f"dvc.out.{path}": md5 for path, md5 in outs.items()}
    (used,) = runs.children(parent)["train_scratch"].inputs.dataset_inputs
    assert used.dataset.digest == outs["data/prepared"]


def test_the_model_is_shown_with_its_scores_data_and_files(reproduced: Repository) -> None:
    (model,) = reproduced.models()
    runs = reproduced.runs()
    (parent,) = runs.parents()
    trained = runs.children(parent)["train_scratch"].info.run_id
    assert (model.name, model.source_run_id, str(model.status)) == ("scratch", trained, "READY")
    assert model.params["train_scratch.optimizer.learning_rate"] == "0.002"
    assert {(each.key, each.value, each.dataset_name, each.run_id) for each in model.metrics} == {
        ("test/scratch.wer", 0.02, None, parent.info.run_id),
        ("valid/scratch.wer", 0.04, "scratch-valid", parent.info.run_id),
    }
    for run in (parent, runs.children(parent)["train_scratch"]):
        assert [each.model_id for each in run.outputs.model_outputs] == [model.model_id]
    folder = Path(model.artifact_location.removeprefix("file://"))
    file = folder / "models" / "scratch" / "training.json"
    assert json.loads(file.read_text())["rate"] == 0.002
    assert file.stat().st_nlink == 2  # a link to DVC's cache, and no second copy
    assert json.loads((folder / "MLmodel").read_text())["model_id"] == model.model_id
    assert reproduced.best() == (1, {1})


def test_a_repro_without_work_makes_no_run(reproduced: Repository) -> None:
    reproduced.run("dvc", "repro")
    assert len(reproduced.runs().parents()) == 1


def test_there_is_nothing_to_sync_after_a_normal_run(reproduced: Repository) -> None:
    assert sync_store(reproduced.path, "scratchformer") == (0, 0, 1)


@pytest.fixture(scope="module")
def experimented(reproduced: Repository) -> Repository:
    """After `dvc exp run` with another learning rate."""
    rate = "train_scratch.optimizer.learning_rate=0.005"
    reproduced.run("dvc", "exp", "run", "-n", "fast", "-S", rate)
    return reproduced


def test_an_experiment_has_a_parent_of_its_name_with_complete_metrics(
    experimented: Repository,
) -> None:
    runs = experimented.runs()
    first, parent = runs.parents()
    assert parent.info.run_name == "fast"
    assert parent.data.tags["dvc.exp.name"] == "fast"
    assert parent.data.tags["dvc.exp.baseline"] == first.data.tags["mlflow.source.git.commit"] or (
        len(parent.data.tags["dvc.exp.baseline"]) == 40
    )
    assert set(runs.children(parent)) == {"train_scratch", "evaluate", "visualize"}
    assert parent.data.metrics["test/scratch.wer"] == pytest.approx(0.05)
    assert set(parent.data.metrics) == set(first.data.metrics)
    assert parent.data.tags["scratchformer.results.prepare"] == "reused"
    assert parent.data.params["train_scratch.optimizer.learning_rate"] == "0.005"
    assert len(experimented.models()) == 2
    assert experimented.best() == (1, {1, 2})  # word errors: the first model has fewer


@pytest.fixture(scope="module")
def queued(experimented: Repository) -> Repository:
    """After two queued experiments, run by DVC's worker in copies of the checkout."""
    for name, examples in (("three", 3), ("four", 4)):
        experimented.run(
            "dvc", "exp", "run", "--queue", "-n", name,
            "-S", f"visualize.error_examples={examples}",
        )  # fmt: skip
    experimented.run("dvc", "queue", "start", "--jobs", "2")
    deadline = time.monotonic() + 600
    while (status := experimented.run("dvc", "queue", "status")).count("Success") < 2:
        assert "Failed" not in status and time.monotonic() < deadline, status
        time.sleep(1)
    return experimented


@pytest.mark.release
def test_queued_experiments_are_mirrored_to_the_checkout(queued: Repository) -> None:
    runs = queued.runs()
    parents = {run.info.run_name: run for run in runs.parents()}
    assert {"three", "four"} <= set(parents) and len(parents) == 4
    for name in ("three", "four"):
        assert parents[name].info.status == "FINISHED"
        assert set(runs.children(parents[name])) == {"visualize"}
        assert parents[name].data.metrics == parents["fast"].data.metrics
        assert runs.files(parents[name]) >= {"figures/loss.png", "report.html"}
    assert not list(queued.path.glob(".dvc/tmp/exps/**/mlflow.db"))
    assert len(queued.models()) == 2  # both experiments share the model of "fast"


@pytest.fixture(scope="module")
def failed(experimented: Repository) -> Repository:
    """After an experiment whose evaluation fails."""
    story = experimented
    story.run("dvc", "exp", "run", "-n", "broken", "-S", "evaluate.beam_size=7", check=False)
    story.run("git", "checkout", "--quiet", "params.yaml")
    story.run("dvc", "checkout")
    deadline = time.monotonic() + 60  # a stage that fails does not wait for its writer
    while story.newest().info.run_name != "broken" or story.newest().info.status == "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return story


def test_a_failed_stage_makes_its_pipeline_fail(failed: Repository) -> None:
    parent = failed.newest()
    runs = failed.runs()
    assert (parent.info.run_name, parent.info.status) == ("broken", "FAILED")
    assert {name: run.info.status for name, run in runs.children(parent).items()} == {
        "evaluate": "FAILED"
    }
    assert "test/scratch.wer" not in parent.data.metrics


@pytest.fixture(scope="module")
def restored(failed: Repository) -> Repository:
    """After an experiment that DVC restores from its run-cache, so that no stage runs."""
    said = failed.run(
        "dvc", "exp", "run", "-n", "again", "-S", "train_scratch.optimizer.learning_rate=0.005",
        "-S", "visualize.error_examples=12",
    )  # fmt: skip
    assert "Running stage" not in said
    return failed


def test_sync_creates_the_run_of_a_restored_experiment_once(restored: Repository) -> None:
    before = restored.runs().parents()
    assert "again" not in {run.info.run_name for run in before}
    created, completed, _ = sync_store(restored.path, "scratchformer")
    assert (created, completed) == (1, 0)
    runs = restored.runs()
    parents = {run.info.run_name: run for run in runs.parents()}
    again, fast = parents["again"], parents["fast"]
    assert again.info.status == "FINISHED"
    assert again.data.metrics == fast.data.metrics
    assert again.data.params["train_scratch.optimizer.learning_rate"] == "0.005"
    assert runs.files(again) == runs.files(fast)
    (child,) = runs.children(again).values()
    assert child.info.run_name == "train_scratch (reused)"
    trained = runs.children(fast)["train_scratch"]
    assert runs.curve(child, "train/loss") == runs.curve(trained, "train/loss")
    assert sync_store(restored.path, "scratchformer")[:2] == (0, 0)
    assert len(restored.runs().parents()) == len(before) + 1


def test_a_deleted_store_is_rebuilt_from_what_dvc_has(
    restored: Repository, empty_database: Path
) -> None:
    wanted = {
        run.info.run_name: run.data.metrics
        for run in restored.runs().parents()
        if "dvc.exp.name" in run.data.tags and run.info.status == "FINISHED"
    }
    assert set(wanted) - {"three", "four"} == {"fast", "again"}
    shutil.rmtree(restored.path / "mlartifacts")
    restored.replace_store(empty_database)
    # The workspace holds the result of "again", which therefore needs no run of its own.
    assert sync_store(restored.path, "scratchformer") == (len(wanted), 0, 1)
    runs = restored.runs()
    assert {run.info.run_name: run.data.metrics for run in runs.parents()} == wanted
    for parent in runs.parents():
        assert "figures/loss.png" in runs.files(parent)
    assert sync_store(restored.path, "scratchformer") == (0, 0, len(wanted) + 1)
    assert len(restored.models()) == 1 and restored.best() == (1, {1})


def test_sync_completes_a_pipeline_that_ended_before_its_last_stage(
    restored: Repository,
) -> None:
    """`prepare` runs again and makes the same, so that DVC has no reason to run the others."""
    restored.run("dvc", "repro", "--single-item", "--force", "prepare")
    parent = restored.newest()
    assert parent.data.metrics == {}
    runs = restored.runs()
    complete = len(runs.parents()) - 1
    assert sync_store(restored.path, "scratchformer") == (0, 1, complete)
    completed = runs.store.client.get_run(parent.info.run_id)
    assert completed.data.metrics == runs.parents()[-2].data.metrics
    assert set(runs.children(completed)) == {"prepare", "train_scratch (reused)"}
    assert completed.data.tags["scratchformer.results.prepare"] == "ran"
    assert sync_store(restored.path, "scratchformer") == (0, 0, complete + 1)


def test_damage_in_the_cache_is_not_mirrored(restored: Repository, empty_database: Path) -> None:
    restored.replace_store(empty_database)
    metrics = restored.path / "reports" / "metrics.json"
    metrics.write_text(json.dumps(metrics_json(99)))
    lock = read_stages(restored.path / "dvc.lock")
    assert lock["evaluate"]["outs"][0]["md5"] != file_md5(metrics)
    sync_store(restored.path, "scratchformer")
    shown = [run.data.metrics.get("test/scratch.wer") for run in restored.runs().parents()]
    assert 99 not in shown
