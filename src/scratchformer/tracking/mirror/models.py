"""The trained models in MLflow: a LoggedModel for each that DVC knows, and a registered version.

A model is recognised by the hash of its folder in dvc.lock, so that executions which share a model
share its LoggedModel, and doing this twice does nothing the second time. Its files are hard links
to DVC's cache where the file system allows that, and take no room.

The newest version of a registered model is compared with those that were scored on the same
validation rows; the best of them has the alias `best`.
"""

import json
import platform
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from scratchformer.base.layout import CALIBRATION, PREPARED, TRACKS, Track, TrackName
from scratchformer.base.measures import MEASURES, shown
from scratchformer.record.metrics import Metrics
from scratchformer.tracking.mirror.headline import Figure
from scratchformer.tracking.mirror.snapshot import Snapshot
from scratchformer.tracking.mirror.store import Store

_CONTEXTS = {"valid": "validation", "test": "evaluation"}
BEST = "best"  # the alias
_HASH = "dvc.out.model"  # tags of a LoggedModel and of a version
_ROWS = "scratchformer.valid_rows"
_SCORE, _MEASURE = "scratchformer.valid_score", "scratchformer.valid_measure"
# Where MLflow finds the code that loads and calls the folder, see prediction/served.py.
_LOADER = "scratchformer.prediction.served"


def record_models(
    store: Store,
    run_id: str,
    metrics: Metrics,
    snapshot: Snapshot,
    children: Mapping[str, str],
    calibration: Path | None,
) -> dict[TrackName, str]:
    """Show the models of an execution, and register each new one.

    Args:
        run_id: the parent run.
        snapshot: knows the hashes and the content of the model folders.
        children: the run of a training stage, if the execution has one.
        calibration: the folder of that name, which lies beside the models.

    Returns:
        The LoggedModel of each track whose model is known.
    """
    found: dict[TrackName, str] = {}
    params = store.client.get_run(run_id).data.params
    for track in TRACKS.values():
        digest, scored = snapshot.hash_of(track.model), metrics.tracks.get(track.name)
        if digest is None or scored is None:
            continue
        source = children.get(track.stage, run_id)
        model = _find(store, track, digest) or _create(
            store, track, digest, source, snapshot, params, calibration
        )
        if model is None:
            continue
        found[track.name] = model.model_id
        _link(store, {run_id, source}, model.model_id)
        measure = shown(scored.own.scores)[0].key
        if measure in scored.own.valid:
            value = scored.own.valid[measure]
            rows = snapshot.hash_of(PREPARED / track.name / "valid.parquet") or ""
            tags = {_HASH: digest, _ROWS: rows, _MEASURE: measure, _SCORE: repr(value)}
            _register(store, f"{store.name}-{track.model.name}", model, source, tags)
    return found


def log_figures(
    store: Store,
    run_id: str,
    figures: Iterable[Figure],
    models: Mapping[TrackName, str],
    snapshot: Snapshot | None,
) -> None:
    """The figures as metrics of the run; those that score a model are metrics of the model and of
    the data set too. One that the run has stays as it is."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric

    now, known = int(time.time() * 1000), store.client.get_run(run_id).data.metrics
    digests: dict[str, str] = {}
    for track in models:
        for split, context in _CONTEXTS.items():
            path = PREPARED / track / f"{split}.parquet"
            if snapshot and (digest := snapshot.hash_of(path)):
                name, where = f"{track}-{split}", json.dumps({"uri": path.as_posix()})
                digests[name] = digest
                tags = [InputTag("mlflow.data.context", context)]
                used = DatasetInput(Dataset(name, digest, "local", where), tags)
                store.client.log_inputs(run_id, datasets=[used])
    metrics = []
    for each in figures:
        model = models.get(each.track) if each.track else None
        name = f"{each.track}-{each.split}"
        data = (name, digests[name]) if model and name in digests else (None, None)
        if each.name not in known:
            metrics.append(Metric(each.name, each.value, now, 0, model, *data, run_id))
    if metrics:
        store.client.log_batch(run_id, metrics)


def _find(store: Store, track: Track, digest: str) -> Any:
    """The complete LoggedModel of this hash; None if there is none."""
    found = store.client.search_logged_models(
        [store.experiment], f"name = '{track.model.name}' AND tags.`{_HASH}` = '{digest}'"
    )
    ready = [model for model in found if str(model.status) == "READY"]
    return ready[0] if ready else None


def _create(
    store: Store,
    track: Track,
    digest: str,
    source: str,
    snapshot: Snapshot,
    params: Mapping[str, str],
    calibration: Path | None,
) -> Any:
    """A LoggedModel with its files; None if DVC's cache lacks them. It is READY at the very end:
    one that was cut short is never found, and made again."""
    own = {key: value for key, value in params.items() if key.startswith(f"{track.stage}.")}
    model = store.client.create_logged_model(
        store.experiment, track.model.name, source, {_HASH: digest}, own, track.name
    )
    folder = Path(url2pathname(urlparse(model.artifact_location).path))
    folder.mkdir(parents=True)
    if snapshot.fetch(track.model, folder) is None:
        store.client.finalize_logged_model(model.model_id, "FAILED")
        store.client.delete_logged_model(model.model_id)
        return None
    if calibration is not None and calibration.is_dir():
        shutil.copytree(calibration, folder / CALIBRATION)
    description = _description(model.model_id, source, track)
    (folder / "MLmodel").write_text(json.dumps(description, indent=2), encoding="utf-8")
    return store.client.finalize_logged_model(model.model_id, "READY")


def _description(model_id: str, run_id: str, track: Track) -> dict[str, Any]:
    """The file MLmodel, which is YAML; JSON is a part of YAML. Nothing in it is a pickle."""
    from mlflow.version import VERSION

    columns = [("prediction", "string"), ("probability", "double")]
    return {
        "flavors": {
            "python_function": {
                "loader_module": _LOADER,
                "data": track.model.as_posix(),
                "python_version": platform.python_version(),
            }
        },
        "mlflow_version": VERSION,
        "model_id": model_id,
        "run_id": run_id,
        "signature": {
            "inputs": json.dumps([{"type": "string", "name": "text", "required": True}]),
            "outputs": json.dumps([{"type": kind, "name": name} for name, kind in columns]),
            "params": json.dumps([
                {"name": name, "type": "long", "default": 1, "shape": None}
                for name in ("top_k", "beam")
            ]),
        },
    }


def _link(store: Store, runs: set[str], model_id: str) -> None:
    """Name the model among the outputs of these runs."""
    from mlflow.entities import LoggedModelOutput

    for run_id in runs:
        outputs = store.client.get_run(run_id).outputs
        if model_id not in {each.model_id for each in outputs.model_outputs}:
            store.client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])


def _register(store: Store, name: str, model: Any, run_id: str, tags: Mapping[str, str]) -> None:
    """A version of the registered model for this LoggedModel, and the alias where it belongs."""
    from mlflow.exceptions import MlflowException

    client = store.client
    try:
        client.get_registered_model(name)
    except MlflowException:
        text = f"Versions are models that DVC keeps; `{BEST}` has the best validation score."
        client.create_registered_model(name, description=text)
    versions = list(client.search_model_versions(f"name = '{name}'"))
    if tags[_HASH] not in {each.tags.get(_HASH) for each in versions}:
        measure = MEASURES[tags[_MEASURE]]
        text = f"{measure.title} on the validation split: {measure.text(float(tags[_SCORE]))}"
        made = client.create_model_version(
            name, model.artifact_location, run_id, dict(tags), None, text, 0, model.model_id
        )
        versions.append(made)
        # What the page of the model links to its versions by.
        linked = json.dumps([{"name": name, "version": int(made.version)}])
        client.set_logged_model_tags(model.model_id, {"mlflow.modelVersions": linked})
    same = [
        each
        for each in versions
        if each.tags.get(_ROWS) == tags[_ROWS] and each.tags.get(_MEASURE) == tags[_MEASURE]
    ]
    sign = 1 if MEASURES[tags[_MEASURE]].higher_is_better else -1
    best = max(same, key=lambda each: (sign * float(each.tags[_SCORE]), -int(each.version)))
    client.set_registered_model_alias(name, BEST, best.version)
