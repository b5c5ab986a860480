"""Parents and children: what stands in MLflow after stages that end well, badly, or not at all."""

import json
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from scratchformer.base.errors import ParamsError
from scratchformer.record.dvc_record import dvc_hash
from scratchformer.tracking.execution import ProcessId
from scratchformer.tracking.live.child import Child, begin
from scratchformer.tracking.mirror.parent import settle, stages_before
from scratchformer.tracking.mirror.store import Store, store_uri
from scratchformer.tracking.server import share_columns

from .conftest import Workspace, metrics_json, points

PIPELINE = """
stages:
  prepare:
    cmd: "true"
    params: [run.seed]
    outs: [data/prepared, {reports/data.json: {cache: false}}]
  train_scratch:
    cmd: "true"
    deps: [data/prepared, code.py]
    params: [run, train_scratch]
    outs: [models/scratch, reports/history/scratch]
  evaluate:
    cmd: "true"
    deps: [models/scratch]
    params: [evaluate]
    outs: [{reports/metrics.json: {cache: false}}]
  visualize:
    cmd: "true"
    deps: [reports/metrics.json, reports/history]
    params: [visualize]
    outs: [reports/figures, reports/report.html]
"""


def write(folder: Path, **contents: object) -> None:
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.fixture
def pipeline(workspace: Workspace) -> Workspace:
    """The files of a pipeline that has run, without the pipeline."""
    write(
        workspace.path,
        **{
            "dvc.yaml": PIPELINE,
            "code.py": "1",
            "data/prepared/rows": "1",
            "reports/data.json": {"scratch": {"counts": {"train": 7}, "name": "x"}},
            "models/scratch/training.json": {"best_step": 4, "best_valid_loss": 0.5, "steps": 5},
            "reports/history/scratch/train.csv": "step,loss\n1,1.0\n2,2.0\n3,3.0\n",
            "reports/metrics.json": metrics_json(0.25),
            "reports/figures/a.png": "png",
            "reports/report.html": "<p>",
        },
    )
    return workspace


def test_a_stage_that_ends_well(pipeline: Workspace) -> None:
    (pipeline.path / "rows.txt").write_text("x")
    pipeline.mirror(
        "train_scratch",
        *points(1, 2, 3, **{"train/loss": -1.0, "valid/loss": 0.5}),
        {"event": "summary", "values": {"valid": {"loss": 0.5}, "why": "patience", "rows": [1]}},
        {"event": "artifact", "path": "rows.txt", "folder": "samples"},
        {"event": "artifact", "path": "models/scratch", "folder": None},
        {"event": "table", "name": "samples", "rows": [{"a": 1}, {"a": 2, "b": "x"}]},
        {"event": "input", "name": "train", "path": "data/prepared", "context": "training"},
    )
    runs = pipeline.runs()
    (parent,) = runs.parents()
    assert parent.info.run_name == "one"
    assert parent.info.status == "FINISHED" and parent.info.end_time
    assert parent.data.params["train_scratch.model.d_model"] == "128"
    assert parent.data.params["tracking.enabled"] == "True"
    (child,) = runs.children(parent).values()
    assert (child.info.run_name, child.info.status) == ("train_scratch", "FINISHED")
    assert set(child.data.params) == {
        key for key in parent.data.params if key.startswith(("run.", "train_scratch."))
    }
    assert runs.curve(child, "train/loss") == [(1, 1.0), (2, 2.0), (3, 3.0)]
    # The summary names the same number; it is neither a point of the curve nor beside it.
    assert "valid.loss" not in child.data.metrics
    assert runs.curve(child, "valid/loss") == [(1, 0.5), (2, 0.5), (3, 0.5)]
    assert child.data.tags["why"] == "patience"
    assert runs.files(child) == {"samples/rows.txt", "scratch/training.json", "tables/samples.json"}
    (used,) = child.inputs.dataset_inputs
    assert used.dataset.digest == dvc_hash(Path("data/prepared"))
    assert used.tags[0].value == "training"


def test_the_parent_is_complete_although_stages_were_skipped(pipeline: Workspace) -> None:
    write(pipeline.path, **{"reports/history/scratch/valid.csv": "step,loss\n4,0.5\n5,0.75\n"})
    pipeline.mirror("visualize")
    runs = pipeline.runs()
    (parent,) = runs.parents()
    assert list(runs.children(parent)) == ["visualize"]
    assert parent.data.metrics == {
        "test/scratch.wer": 0.25,
        "valid/scratch.loss.best": 0.5,
        "valid/scratch.loss.last": 0.75,
        "valid/scratch.wer": 0.5,
        "work/scratch.updates": 5.0,
        "work/scratch.updates.best": 4.0,
    }
    assert list(parent.data.metrics) == sorted(parent.data.metrics)  # the order of the page
    page = parent.data.tags["mlflow.note.content"]
    assert "| Transformer from scratch | 25.0 % | 50.0 % |" in page
    assert f"get-artifact?path=figures%2Fscratch-scores.png&run_uuid={parent.info.run_id}" in page
    share_columns(runs.store)  # the list of runs opens with these
    (view,) = (
        json.loads(value)
        for key, value in runs.store.client.get_experiment(runs.store.experiment).tags.items()
        if key.startswith("mlflow.sharedViewState.")
    )
    assert view["columnOrder"] == ["metrics.`valid/scratch.wer`", "metrics.`test/scratch.wer`"]
    tags = parent.data.tags
    assert tags["scratchformer.results.visualize"] == "ran"
    for stage in ("prepare", "train_scratch", "evaluate"):
        assert tags[f"scratchformer.results.{stage}"] == "reused"
    assert runs.files(parent) == {"figures/a.png", "report.html", "metrics.json", "data.json"}
    assert tags["dvc.out.reports/figures"] == dvc_hash(Path("reports/figures"))


def test_results_of_later_stages_are_not_taken_for_those_of_this_execution(
    pipeline: Workspace,
) -> None:
    """reports/metrics.json of the last execution is still there while train_scratch ends."""
    pipeline.mirror("prepare")
    pipeline.mirror("train_scratch")
    runs = pipeline.runs()
    (parent,) = runs.parents()
    assert parent.data.metrics == {}
    assert "| system |" not in parent.data.tags["mlflow.note.content"]
    write(pipeline.path, **{"reports/metrics.json": metrics_json(0.125)})
    pipeline.mirror("evaluate")
    pipeline.mirror("visualize")
    (parent,) = runs.parents()
    assert runs.curve(parent, "test/scratch.wer") == [(0, 0.125)]
    results = {key: value for key, value in parent.data.tags.items() if ".results." in key}
    assert set(results.values()) == {"ran"} and len(results) == 4
    assert set(runs.children(parent)) == {"prepare", "train_scratch", "evaluate", "visualize"}


def test_two_executions_have_two_parents(pipeline: Workspace) -> None:
    pipeline.mirror("prepare", execution="one")
    pipeline.mirror("prepare", execution="two")
    names = [parent.info.run_name for parent in pipeline.runs().parents()]
    assert sorted(names) == ["one", "two"]


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        (["FINISHED", "FINISHED"], "FINISHED"),
        (["FAILED"], "FAILED"),
        (["FAILED", "FINISHED"], "FAILED"),  # dvc repro --keep-going
        (["FINISHED", "KILLED"], "KILLED"),
        (["FINISHED", None], "KILLED"),
    ],
)
def test_the_parent_tells_the_truth_about_its_stages(
    pipeline: Workspace, ends: list[str | None], expected: str
) -> None:
    stages = ("prepare", "train_scratch")[: len(ends)]
    for stage, status in zip(stages, ends, strict=True):
        pipeline.mirror(stage, status=status)
    runs = pipeline.runs()
    (parent,) = runs.parents()
    assert parent.info.status == expected
    statuses = {name: run.info.status for name, run in runs.children(parent).items()}
    assert statuses == {stage: end or "KILLED" for stage, end in zip(stages, ends, strict=True)}


def test_killed_work_is_continued_in_the_same_run_without_a_second_value(
    pipeline: Workspace,
) -> None:
    pipeline.mirror("train_scratch", *points(1, 2, 3, 4), status=None, execution="one")
    (first,) = pipeline.runs().children(pipeline.runs().parents()[0]).values()
    # The checkpoint was that of step 2; another value for a step that is there does not replace it.
    again = points(3, 4, 5, loss=9.0)
    pipeline.mirror("train_scratch", *again, execution="two")
    runs = pipeline.runs()
    old, new = sorted(runs.parents(), key=lambda run: run.info.run_name)
    assert runs.children(old) == {}
    assert (old.info.status, new.info.status) == ("KILLED", "FINISHED")
    (child,) = runs.children(new).values()
    assert child.info.run_id == first.info.run_id
    assert child.info.status == "FINISHED"
    assert child.data.tags["scratchformer.continued"] == "1"
    expected = [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0), (5, 9.0)]
    assert runs.curve(child, "loss") == expected


def test_the_oldest_interrupted_run_is_continued_and_closed_by_its_owner_alone(
    workspace: Workspace,
) -> None:
    store, work = Store(workspace.path, "scratchformer"), "the same work"

    parent = store.create_run("one", {"scratchformer.kind": "pipeline"}, 0.0)

    def start(process: ProcessId) -> Child:
        with store.lock:
            return begin(store, "train_scratch", parent, work, {}, process)

    def status(run_id: str) -> str:
        return str(store.client.get_run(run_id).info.status)

    owners = [ProcessId("elsewhere", 7, float(started)) for started in (1, 2, 3)]
    first, rival = start(owners[0]), start(owners[1])  # the rival finds the training busy
    assert first.run_id != rival.run_id
    rival.finish("FAILED", owners[1])
    first.finish("KILLED", owners[0])
    again = start(owners[2])
    assert again.run_id == first.run_id and status(again.run_id) == "RUNNING"
    first.finish("KILLED", owners[0])  # a writer that comes late
    settle(store, parent)
    assert status(again.run_id) == status(parent) == "RUNNING"  # although the rival has failed
    again.finish("FINISHED", owners[2])
    settle(store, parent)
    assert [status(each) for each in (again.run_id, rival.run_id, parent)] == [
        "FINISHED", "FAILED", "FAILED",
    ]  # fmt: skip


def test_a_summary_that_is_sent_again_has_one_value(pipeline: Workspace) -> None:
    summary = {"event": "summary", "values": {"best": 3, "why": "patience"}}
    pipeline.mirror("train_scratch", *points(1), summary, status="KILLED")
    pipeline.mirror("train_scratch", *points(1, 2), summary, execution="two")
    runs = pipeline.runs()
    _, new = sorted(runs.parents(), key=lambda run: run.info.run_name)
    (child,) = runs.children(new).values()
    assert runs.curve(child, "best") == [(0, 3.0)]
    assert runs.curve(child, "loss") == [(1, 1.0), (2, 2.0)]


@pytest.mark.parametrize("change", ["parameter", "code", "data", "nothing, but it had finished"])
def test_other_work_gets_a_run_of_its_own(pipeline: Workspace, change: str) -> None:
    finished = change.startswith("nothing")
    pipeline.mirror("train_scratch", *points(1), status="FINISHED" if finished else "KILLED")
    if change == "parameter":
        pipeline.params["train_scratch"]["optimizer"]["learning_rate"] = 0.5
    elif change == "code":
        write(pipeline.path, **{"code.py": "2"})
    elif change == "data":
        write(pipeline.path, **{"data/prepared/rows": "2"})
    pipeline.mirror("train_scratch", *points(1), execution="two")
    runs = pipeline.runs()
    found = [run for parent in runs.parents() for run in runs.children(parent).values()]
    assert len(found) == 2


def test_a_parameter_that_the_stage_does_not_read_does_not_part_it_from_its_run(
    pipeline: Workspace,
) -> None:
    pipeline.mirror("train_scratch", *points(1), status="KILLED")
    pipeline.params["visualize"]["error_examples"] = 3
    pipeline.mirror("train_scratch", *points(1, 2), execution="two")
    runs = pipeline.runs()
    new = next(run for run in runs.parents() if run.info.run_name == "two")
    assert new.data.params["visualize.error_examples"] == "3"
    assert runs.curve(runs.children(new)["train_scratch"], "loss") == [(1, 1.0), (2, 2.0)]


def test_points_that_were_lost_are_filled_from_the_history(pipeline: Workspace) -> None:
    pipeline.mirror("train_scratch", *points(1, 3, **{"train/loss": -1.0}))
    runs = pipeline.runs()
    (child,) = runs.children(runs.parents()[0]).values()
    assert runs.curve(child, "train/loss") == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_runs_of_dead_processes_are_closed_and_those_of_living_ones_are_not(
    workspace: Workspace,
) -> None:
    store = Store(workspace.path, "scratchformer")
    made = {}
    host = workspace.process().host
    me = workspace.process(alive=True)
    for name, process in {
        "dead": workspace.process(),
        "alive": me,
        "number given again": ProcessId(host, me.pid, me.started - 100),
        "elsewhere": ProcessId("another-host", 1, 1.0),
    }.items():
        tags = {"scratchformer.kind": "stage", "scratchformer.host": process.host,
                "scratchformer.pid": str(process.pid),
                "scratchformer.started": repr(process.started)}  # fmt: skip
        made[name] = store.create_run(name, tags)
    made["of another program"] = store.create_run("of another program", {})
    workspace.mirror("prepare")
    status = {name: store.client.get_run(run_id).info.status for name, run_id in made.items()}
    assert status == {
        "dead": "KILLED",
        "alive": "RUNNING",
        "number given again": "KILLED",
        "elsewhere": "RUNNING",
        "of another program": "RUNNING",
    }


def test_an_event_that_fails_is_told_and_the_others_are_kept(workspace: Workspace) -> None:
    workspace.mirror(
        "prepare", {"event": "artifact", "path": "absent.txt", "folder": None}, *points(1)
    )
    (told,) = workspace.told
    assert told.startswith("a part of this stage (artifact): ") and "absent.txt" in told
    runs = workspace.runs()
    (child,) = runs.children(runs.parents()[0]).values()
    assert child.info.status == "FINISHED"
    assert runs.curve(child, "loss") == [(1, 1.0)]


def test_names_and_numbers_that_mlflow_is_picky_about(workspace: Workspace) -> None:
    nan, many = float("nan"), {f"group.{n}": n for n in range(2500)}
    workspace.mirror(
        "prepare",
        *points(1, **{"loss (nats)": 2.0, "ünï/code": 1.0}),
        {"event": "metrics", "step": 2, "at": 1, "values": {"loss": nan, "norm": float("inf")}},
        {"event": "summary", "values": {"counts": many, "long": "x" * 9000, "yes": True}},
    )
    runs = workspace.runs()
    (child,) = runs.children(runs.parents()[0]).values()
    assert child.data.metrics["loss _nats_"] == 2.0
    assert child.data.metrics["counts.group.2499"] == 2499
    assert child.data.tags["yes"] == "True"


def test_stages_before_follows_folders_in_both_directions() -> None:
    stages = {
        "a": {"outs": ["data/x"]},
        "b": {"deps": ["data"], "outs": [{"reports/history/b": {"cache": False}}]},
        "c": {"deps": ["reports/history"], "outs": ["figures"]},
        "d": {"deps": ["data/xy"], "outs": ["e"]},
    }
    assert set(stages_before("c", stages)) == {"a", "b"}
    assert stages_before("d", stages) == []


def test_a_store_in_a_folder_with_an_awkward_name(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a b#c é"
    folder.mkdir()
    for name in ("mlflow.db", "params.yaml"):
        (tmp_path / name).rename(folder / name)
    monkeypatch.chdir(folder)
    awkward = Workspace(folder)
    awkward.mirror("prepare", {"event": "artifact", "path": "params.yaml", "folder": None})
    runs = awkward.runs()
    (child,) = runs.children(runs.parents()[0]).values()
    assert runs.files(child) == {"params.yaml"}
    assert (folder / "mlartifacts").is_dir()
    assert {path.name for path in tmp_path.iterdir()} == {folder.name}
    with pytest.raises(ParamsError, match="cannot keep a store below"):
        store_uri(tmp_path / "100%")


def test_nobody_waits_while_mlflow_is_imported(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two experiments that were queued together, the second one lost its run to that."""
    import mlflow.tracking

    make = mlflow.tracking.MlflowClient
    free: list[bool] = []

    def watched(tracking_uri: str) -> object:
        other = FileLock(workspace.path / "mlflow.db.lock", timeout=0)
        with other:
            free.append(True)
        return make(tracking_uri=tracking_uri)

    monkeypatch.setattr(mlflow.tracking, "MlflowClient", watched)
    Store(workspace.path, "scratchformer")
    assert free == [True]


@pytest.mark.parametrize("how", ["moved", "copied"])
@pytest.mark.parametrize("experiment", ["scratchformer", "another"])
def test_artifacts_lie_beside_the_database_of_a_checkout_that_was_moved_or_copied(
    pipeline: Workspace, monkeypatch: pytest.MonkeyPatch, how: str, experiment: str
) -> None:
    """Those of old runs are shown too, also under an experiment that is not the current one."""
    old, new = pipeline.path / "a_b c", pipeline.path / "now" / "here"
    kept = [path for path in pipeline.path.iterdir() if path.name != "now"]
    old.mkdir()
    new.parent.mkdir()
    for path in kept:
        path.rename(old / path.name)
    monkeypatch.chdir(old)
    Workspace(old).mirror("visualize", {"event": "artifact", "path": "code.py", "folder": None})
    before = {path for path in old.rglob("*") if path.is_file()}
    if how == "moved":
        old.rename(new)
    else:
        shutil.copytree(old, new)
    monkeypatch.chdir(new)
    moved = Workspace(new)
    moved.params["tracking"]["experiment"] = experiment
    write(new, **{"code.py": "2"})
    moved.mirror(
        "visualize", {"event": "artifact", "path": "code.py", "folder": None}, execution="two"
    )
    assert moved.told == []
    assert {path for path in old.rglob("*") if path.is_file()} == (
        set() if how == "moved" else before
    )
    stores = [Store(new, "scratchformer"), Store(new, experiment)]
    runs = {run.info.run_id: run for store in stores for run in store.search()}.values()
    assert len(runs) == 4
    for run in runs:
        files = stores[0].client.list_artifacts(run.info.run_id)
        assert files, run.info.run_name
        folder = new / "mlartifacts" / run.info.run_id / "artifacts"
        assert run.info.artifact_uri == folder.as_uri() and folder.is_dir()
