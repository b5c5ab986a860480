"""The parent run of a pipeline execution: everything that experiments are compared by.

DVC calls nothing when a reproduction ends, so each stage leaves the parent in a true state as it
exits itself: RUNNING while a stage runs, then FAILED or KILLED if one of its children is, else
FINISHED. Its metrics are complete as soon as a stage ran that depends on all others: the stages
before it that DVC skipped are up to date by then, so their reports are copied and tagged "reused".
What is missing when no such stage ran, `scratchformer sync` adds.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scratchformer.base import layout
from scratchformer.base.errors import DataError
from scratchformer.record.dvc_record import (
    dvc_hash,
    locked_outs,
    overlap,
    paths_of,
    select_params,
)
from scratchformer.record.metrics import Metrics, load_metrics
from scratchformer.tracking.execution import Execution
from scratchformer.tracking.mirror.headline import Find, description, headline
from scratchformer.tracking.mirror.models import log_figures, record_models
from scratchformer.tracking.mirror.snapshot import Snapshot
from scratchformer.tracking.mirror.store import Store, process_of, process_tags

# What is worth seeing on the parent without opening a child.
SHOWN: dict[str, tuple[Path, ...]] = {
    "prepare": (layout.DATA_REPORT,),
    "tokenize": (layout.TOKENS_REPORT,),
    "evaluate": (layout.METRICS,),
    "visualize": (layout.FIGURES, layout.HTML_REPORT, layout.PLAYGROUND),
}
PARENT_ID = "mlflow.parentRunId"
_NOTE = "mlflow.note.content"
RESULTS = "scratchformer.results."  # tag: does the parent have the results of a stage, and how
OUT = "dvc.out."  # tag: the hash of an output in DVC's words


def find_or_create(
    store: Store, execution: Execution, params: Mapping[str, Any], tags: Mapping[str, str]
) -> str:
    """The parent of an execution, RUNNING; call it with the store's lock held."""
    key = hashlib.sha256(execution.key.encode()).hexdigest()[:32]
    found = store.search(tags={"scratchformer.execution": key})
    if found:
        run_id = str(found[0].info.run_id)
        store.set_status(run_id, "RUNNING")
        return run_id
    tags = {
        "scratchformer.kind": "pipeline",
        "scratchformer.execution": key,
        "mlflow.source.name": execution.command,
        "mlflow.source.type": "PROJECT",
        _NOTE: description(None, "", pictures=False),
        **process_tags(execution.process),
        **experiment_tags(execution.experiment_name, execution.baseline),
        **tags,
    }
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(execution.process.started))
    what = "repro" if execution.command.startswith("dvc") else "by hand"
    name = execution.experiment_name or f"{what} {moment}"
    run_id = store.create_run(name, tags, execution.process.started)
    store.log_params(run_id, params)
    return run_id


def experiment_tags(name: str | None, baseline: str | None) -> dict[str, str]:
    """The tags that name a DVC experiment."""
    tags = {"dvc.exp.name": name, "dvc.exp.baseline": baseline}
    return {key: value for key, value in tags.items() if value}


def params_digest(values: Mapping[str, Any]) -> str:
    """One word for flat parameters: equal for equal values in any order."""
    text = json.dumps(dict(sorted(values.items())), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def pipeline_params(definitions: Mapping[str, Any]) -> dict[str, Any]:
    """The flat parameters of params.yaml that any stage reads, as dvc.lock will have them."""
    from ruamel.yaml import YAML

    values = YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))
    flat: dict[str, Any] = {}
    for definition in definitions.values():
        flat |= select_params(definition, values)
    return flat


def stages_before(stage: str, definitions: Mapping[str, Any]) -> list[str]:
    """The stages of dvc.yaml whose outputs `stage` needs, directly or through others."""
    needed: list[str] = []
    open_stages = [stage]
    while open_stages:
        wanted = paths_of(definitions.get(open_stages.pop(), {}), "deps")
        for name, definition in definitions.items():
            outs = paths_of(definition, "outs")
            if name not in (*needed, stage) and any(overlap(a, b) for a in wanted for b in outs):
                needed.append(name)
                open_stages.append(name)
    return needed


def refresh(
    store: Store,
    run_id: str,
    stage: str,
    definitions: Mapping[str, Any],
    snapshot: Snapshot | None,
) -> None:
    """Add the results of a stage that has just ended well, and of the skipped ones before it.

    Args:
        snapshot: what dvc.lock names; None without one.
    """
    outs = paths_of(definitions.get(stage, {}), "outs")
    hashes = {str(path): dvc_hash(path) for path in outs if path.exists()}
    locked = snapshot.stages if snapshot else {}
    known = store.client.get_run(run_id).data.tags
    for name in (stage, *stages_before(stage, definitions)):
        if f"{RESULTS}{name}" not in known:
            how = "ran" if name == stage else "reused"
            hashes = hashes if name == stage else locked_outs(locked.get(name, {}))
            models = snapshot if name == "evaluate" and _in_place(snapshot) else None
            add_results(store, run_id, name, how, hashes, Path, models)
    describe(store, run_id, Path)


def _in_place(snapshot: Snapshot | None) -> bool:
    """Whether the models of dvc.lock are those of the workspace: a stage started by hand may have
    made others since."""
    return snapshot is not None and all(
        track.model.is_dir() and dvc_hash(track.model) == snapshot.hash_of(track.model)
        for track in layout.TRACKS.values()
        if track.stage in snapshot.stages
    )


def add_results(
    store: Store,
    run_id: str,
    stage: str,
    how: str,
    outs: Mapping[str, str],
    find: Find,
    snapshot: Snapshot | None,
) -> None:
    """Put one stage's headline figures, its models, files and output hashes on a parent.

    Args:
        how: "ran" or "reused".
        outs: the outputs and their hashes in DVC's words.
        find: where the content of a path of the pipeline lies; None or a missing file is skipped.
        snapshot: where the models come from.
    """
    metrics = _metrics(find) if stage == "evaluate" else None
    if metrics is not None:
        models = {}
        if snapshot is not None:
            trained, calibration = _trainings(store, run_id), find(layout.CALIBRATION)
            models = record_models(store, run_id, metrics, snapshot, trained, calibration)
        log_figures(store, run_id, headline(metrics, find), models, snapshot)
    for path in SHOWN.get(stage, ()):
        source = find(path)
        if source is not None and source.exists():
            store.log_files(run_id, source)
    tags = {f"{OUT}{path}": value for path, value in outs.items()}
    store.log_tags(run_id, {**tags, f"{RESULTS}{stage}": how})


def describe(store: Store, run_id: str, find: Find) -> None:
    """Write the page of a parent from the results that it has by now."""
    known = store.client.get_run(run_id).data.tags
    metrics = _metrics(find) if f"{RESULTS}evaluate" in known else None
    pictures = f"{RESULTS}visualize" in known
    store.log_tags(run_id, {_NOTE: description(metrics, run_id, pictures)})


def _metrics(find: Find) -> Metrics | None:
    """The scores of an execution; None if they are not here, or of another version."""
    path = find(layout.METRICS)
    if path is None or not path.is_file():
        return None
    try:
        return load_metrics(path)
    except DataError:
        return None  # an old experiment: its file is among the artifacts as it is


def _trainings(store: Store, run_id: str) -> dict[str, str]:
    """Stage → run of the trainings that an execution has runs of."""
    children = store.search(tags={PARENT_ID: run_id})
    stages = {track.stage for track in layout.TRACKS.values()}
    named = {child.data.tags.get("scratchformer.stage", ""): child for child in children}
    return {stage: child.info.run_id for stage, child in named.items() if stage in stages}


def settle(store: Store, run_id: str) -> None:
    """Give the parent the status that follows from its children."""
    children = store.search(tags={PARENT_ID: run_id})
    statuses = {child.info.status for child in children}
    for status in ("RUNNING", "FAILED", "KILLED"):
        if status in statuses:
            return store.set_status(run_id, status)
    return store.set_status(run_id, "FINISHED")


def close_dead(store: Store) -> None:
    """Close runs that their process left RUNNING as it was killed; call it with the lock held."""
    running = store.search("RUNNING")
    dead = [run for run in running if (owner := process_of(run)) and not owner.alive()]
    parents = [run for run in dead if run.data.tags.get("scratchformer.kind") == "pipeline"]
    orphans = [run for run in dead if run not in parents]
    for run in orphans:
        store.set_status(run.info.run_id, "KILLED")
    settled = {run.info.run_id for run in parents}
    settled |= {run.data.tags[PARENT_ID] for run in orphans if PARENT_ID in run.data.tags}
    for run_id in settled:
        settle(store, run_id)
