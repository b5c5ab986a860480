"""Runs for results that DVC has and MLflow does not: restored from the run-cache, or because the
store was deleted.

A result is recognised by its parameters and by the hashes of its outputs, which every parent run
carries as tags, so that doing this twice does nothing the second time.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from scratchformer.record.dvc_record import locked_outs, locked_params
from scratchformer.tracking.mirror import parent
from scratchformer.tracking.mirror.curves import HISTORIES, read_curves
from scratchformer.tracking.mirror.snapshot import (
    Snapshot,
    experiment_snapshots,
    workspace_snapshot,
)
from scratchformer.tracking.mirror.store import Store


def sync_store(root: Path, experiment: str) -> tuple[int, int, int]:
    """Bring the store of a checkout up to what DVC has; returns how many pipeline runs were
    created, completed, and there already."""
    workspace = workspace_snapshot(root)
    snapshots = [*experiment_snapshots(root), *([workspace] if workspace else [])]
    counts = {"created": 0, "completed": 0, "known": 0}
    store = Store(root, experiment)
    with store.lock:
        parent.close_dead(store)
        for snapshot in snapshots:
            if snapshot.current_stages():
                counts[_sync(store, snapshot)] += 1
    return counts["created"], counts["completed"], counts["known"]


def _sync(store: Store, snapshot: Snapshot) -> str:
    stages = snapshot.current_stages()
    run = _find(store, snapshot, stages)
    tags = run.data.tags if run else {}
    missing = [name for name in stages if f"{parent.RESULTS}{name}" not in tags]
    if not missing:
        return "known"
    run_id = run.info.run_id if run else _create(store, snapshot, stages)
    with TemporaryDirectory() as scratch:
        folder, fetched = Path(scratch), dict[Path, Path | None]()

        def find(path: Path) -> Path | None:
            if path not in fetched:
                fetched[path] = snapshot.fetch(path, folder)
            return fetched[path]

        for name in missing:  # a training before the evaluation that scores its model
            history = find(HISTORIES[name]) if name in HISTORIES else None
            if history:
                _add_curves(store, run_id, name, history, snapshot)
            outs = locked_outs(stages[name])
            parent.add_results(store, run_id, name, "reused", outs, find, snapshot)
        parent.describe(store, run_id, find)
    store.set_status(run_id, "FINISHED")
    return "completed" if run else "created"


def _find(store: Store, snapshot: Snapshot, stages: dict[str, Any]) -> Any:
    """The newest run that shows this result or a part of it; None if there is none."""
    tags = {
        "scratchformer.kind": "pipeline",
        "scratchformer.params": parent.params_digest(locked_params(stages)),
        **parent.experiment_tags(snapshot.name, None),
    }
    outs = {path: md5 for stage in stages.values() for path, md5 in locked_outs(stage).items()}
    for run in store.search("FINISHED", tags=tags):
        if all(run.data.tags.get(f"{parent.OUT}{path}", md5) == md5 for path, md5 in outs.items()):
            return run
    return None


def _create(store: Store, snapshot: Snapshot, stages: dict[str, Any]) -> str:
    params = locked_params(stages)
    tags = {
        "scratchformer.kind": "pipeline",
        "scratchformer.params": parent.params_digest(params),
        "scratchformer.synced": "true",
        **parent.experiment_tags(snapshot.name, snapshot.baseline),
    }
    run_id = store.create_run(snapshot.name or "restored", tags, snapshot.seconds)
    store.log_params(run_id, params)
    return run_id


def _add_curves(
    store: Store, parent_id: str, stage: str, history: Path, snapshot: Snapshot
) -> None:
    """A child that holds the curves of a training that this execution did not run."""
    tags = {
        parent.PARENT_ID: parent_id,
        "scratchformer.kind": "stage",
        "scratchformer.stage": stage,
        "scratchformer.synced": "true",
    }
    run_id = store.create_run(f"{stage} (reused)", tags, snapshot.seconds)
    at = int(snapshot.seconds * 1000)
    store.log_points(run_id, ((*point, at) for point in read_curves(history)))
    store.set_status(run_id, "FINISHED")
