"""The run of one stage: created, or continued if the same work was interrupted before."""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scratchformer.base.mappings import curve_name, flatten
from scratchformer.record.dvc_record import dvc_hash, paths_of
from scratchformer.tracking.execution import ProcessId
from scratchformer.tracking.mirror.parent import PARENT_ID
from scratchformer.tracking.mirror.store import Store, numbers, process_of, process_tags

_FLUSH_EVERY = 5.0  # seconds
_FLUSH_AT = 1000  # points


class Child:
    """One stage's run. Curves are buffered, because a call costs as much as hundreds of points."""

    def __init__(self, store: Store, run_id: str, seen: set[tuple[str, int]]) -> None:
        self.run_id = run_id
        self._store = store
        self._seen = seen
        self._buffer: list[tuple[str, float, int, int]] = []
        self._flushed = time.monotonic()

    def metrics(self, values: Mapping[str, float], step: int, at: int) -> None:
        """A point of each curve, at `at` milliseconds; a point that is there already stays."""
        for key, value in values.items():
            if (key, step) not in self._seen:
                self._seen.add((key, step))
                self._buffer.append((key, value, step, at))
        if len(self._buffer) >= _FLUSH_AT or time.monotonic() - self._flushed >= _FLUSH_EVERY:
            self.flush()

    def fill(self, points: Iterable[tuple[str, float, int]]) -> None:
        """Add the (name, value, step) that the run lacks; a killed writer may have lost some."""
        at = int(time.time() * 1000)
        for name, value, step in points:
            self.metrics({name: value}, step, at)
        self.flush()

    def flush(self) -> None:
        """Write the buffered points."""
        buffer, self._buffer = self._buffer, []
        self._flushed = time.monotonic()
        self._store.log_points(self.run_id, buffer)

    def summary(self, values: Mapping[str, Any]) -> None:
        """Final results: numbers as metrics at step 0, words as tags, lists left out.

        The last value of a curve (`valid.loss` of `valid/loss`) is a point of it already, so it is
        left out.
        """
        flat = dict(flatten(values))
        words = {key: value for key, value in flat.items() if isinstance(value, str | bool)}
        curves = {name for name, step in self._seen if step}
        final = {
            key: value
            for key, value in numbers(flat).items()
            if curve_name(*key.partition(".")[::2]) not in curves
        }
        # Through `metrics`: a stage that was killed after its summary sends it a second time.
        self.metrics(final, 0, int(time.time() * 1000))
        self.flush()
        self._store.log_tags(self.run_id, words)

    def artifact(self, path: str, folder: str | None) -> None:
        """A copy of a file or a folder."""
        self._store.log_files(self.run_id, Path(path), folder)

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows of equal columns, as a JSON file that MLflow shows as a table."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        data = {column: [row.get(column) for row in rows] for column in columns}
        self._store.client.log_table(self.run_id, data, f"tables/{name}.json")

    def input(self, name: str, path: str, context: str) -> None:
        """A data set with the digest that DVC knows it by."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            name=name,
            digest=dvc_hash(Path(path)),
            source_type="local",
            source=json.dumps({"uri": path}),
        )
        tags = [InputTag("mlflow.data.context", context)]
        self._store.client.log_inputs(self.run_id, datasets=[DatasetInput(dataset, tags)])

    def finish(self, status: str, process: ProcessId) -> None:
        """Write what is left and close the run, unless another process has taken it over."""
        self.flush()
        with self._store.lock:
            if process_of(self._store.client.get_run(self.run_id)) == process:
                self._store.set_status(self.run_id, status)


def begin(
    store: Store,
    stage: str,
    parent_id: str,
    work: str,
    params: Mapping[str, Any],
    process: ProcessId,
) -> Child:
    """The run of a stage that starts now; call it with the store's lock held.

    A run of the same stage with the same parameters, inputs and code that was killed or failed is
    continued: it moves below the present parent, and gets no second value for a (metric, step)
    that it has.

    Args:
        work: `work_key` of what the stage is about to do.
        params: the flat parameters that it reads.
    """
    tags = {PARENT_ID: parent_id, **process_tags(process)}
    # The oldest: later ones are those of stages that found the training busy and did nothing.
    for run in store.search("KILLED", "FAILED", tags={"scratchformer.work": work})[-1:]:
        run_id = str(run.info.run_id)
        times = int(run.data.tags.get("scratchformer.continued", "0")) + 1
        store.log_tags(run_id, {**tags, "scratchformer.continued": times})
        store.set_status(run_id, "RUNNING")
        return Child(store, run_id, _points(store, run_id))
    tags |= {
        "scratchformer.kind": "stage",
        "scratchformer.stage": stage,
        "scratchformer.work": work,
    }
    run_id = store.create_run(stage, tags, process.started)
    store.log_params(run_id, params)
    return Child(store, run_id, set())


def work_key(stage: str, params: Mapping[str, Any], definition: dict[str, Any]) -> str:
    """One word for what a stage is about to do: equal if a checkpoint of the other would fit.

    Args:
        params: the flat parameters that it reads.
        definition: its part of dvc.yaml, whose dependencies are hashed.
    """
    deps = {str(path): dvc_hash(path) for path in paths_of(definition, "deps") if path.exists()}
    text = json.dumps([stage, dict(sorted(params.items())), deps], default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _points(store: Store, run_id: str) -> set[tuple[str, int]]:
    """Every (metric, step) that a run has a value for."""
    names = store.client.get_run(run_id).data.metrics
    histories = (store.client.get_metric_history(run_id, name) for name in names)
    return {(point.key, point.step) for history in histories for point in history}
