"""The writer process: reads events from its standard input and mirrors them to MLflow.

It ends with the event "finish", or when the stage is gone without having sent it, which is how a
run gets the status KILLED although nothing can be done about a `kill -9`. Whatever goes wrong here
is reported in one line, and the stage goes on.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from filelock import Timeout

from scratchformer.base.mappings import flatten
from scratchformer.record.dvc_record import read_stages, select_params
from scratchformer.tracking.execution import Execution, ProcessId
from scratchformer.tracking.live import child
from scratchformer.tracking.mirror import parent
from scratchformer.tracking.mirror.curves import HISTORIES, read_curves
from scratchformer.tracking.mirror.snapshot import workspace_snapshot
from scratchformer.tracking.mirror.store import Store, writer_lock

Events = SimpleQueue[dict[str, Any] | None]
Tell = Callable[[str, Exception], None]

_LOOK_EVERY = 1.0  # seconds between two looks at whether the stage still lives
_FAILURES = 3  # events that may fail before the others are not even tried


def main() -> None:
    """Mirror one stage. Lines on standard output are warnings that the stage shows."""
    report, sys.stdout = sys.stdout, sys.stderr

    def tell(what: str, error: Exception) -> None:
        reason = " ".join(str(error).split()) or type(error).__name__
        with suppress(OSError):  # the stage is gone
            print(f"MLflow does not show {what}: {reason[:300]}", file=report, flush=True)

    events: Events = SimpleQueue()
    threading.Thread(target=_read, args=(events,), daemon=True).start()
    first = events.get()
    if first is None:
        return
    try:
        mirror(first, events, tell)
    except Exception as error:  # noqa: BLE001 - the view must never stop the record, whatever broke
        tell("this stage", error)


def _read(events: Events) -> None:
    for line in sys.stdin:
        if not line.endswith("\n"):
            break  # the stage was killed in the middle of a line
        events.put(json.loads(line))
    events.put(None)


def mirror(first: dict[str, Any], events: Events, tell: Tell) -> None:
    """Carry out the events of one stage.

    Args:
        first: the event "begin".
        events: those after it; None is the end of the pipe.
        tell: is called with what is lacking in MLflow, and why.
    """
    stage: str = first["stage"]
    workspace = Path(first["workspace"])
    process = ProcessId(**first["process"])
    execution = Execution(ProcessId(**first["execution"].pop("process")), **first["execution"])
    definitions = read_stages()
    definition = definitions.get(stage, {})
    params = select_params(definition, first["params"]) or dict(flatten(first["params"]))
    work = child.work_key(stage, params, definition)
    with ExitStack() as stack:
        with suppress(Timeout):  # the earlier writer serves a stage that still lives
            stack.enter_context(writer_lock(workspace, stage, work))
        store = Store(workspace, first["params"]["tracking"]["experiment"])
        with store.lock:
            parent.close_dead(store)
            tags = {
                "scratchformer.params": parent.params_digest(parent.pipeline_params(definitions)),
                "mlflow.source.git.commit": _commit(),
            }
            everything = dict(flatten(first["params"]))
            parent_id = parent.find_or_create(store, execution, everything, tags)
            run = child.begin(store, stage, parent_id, work, params, process)
        status = _follow(run, events, process, tell)
        with store.lock:
            run.finish(status, process)
            try:
                if status == "FINISHED":
                    if stage in HISTORIES:
                        run.fill(read_curves(HISTORIES[stage]))
                    snapshot = workspace_snapshot(Path())
                    parent.refresh(store, parent_id, stage, definitions, snapshot)
            finally:
                parent.settle(store, parent_id)


def _follow(run: child.Child, events: Events, process: ProcessId, tell: Tell) -> str:
    """Carry out events until the stage ends; return the status that its run gets."""
    failures = 0
    while True:
        try:
            event = events.get(timeout=_LOOK_EVERY)
        except Empty:
            # A process that the stage started may hold the pipe open after the stage's death.
            if not process.alive():
                return "KILLED"
            continue
        if event is None:
            return "KILLED"
        kind = event.pop("event")
        if kind == "finish":
            return str(event["status"])
        if failures < _FAILURES:
            try:
                getattr(run, kind)(**event)
            except Exception as error:  # noqa: BLE001 - see main
                failures += 1
                tell(f"a part of this stage ({kind})", error)


def _commit() -> str:
    """The commit that is checked out; empty outside Git."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


if __name__ == "__main__":
    main()
