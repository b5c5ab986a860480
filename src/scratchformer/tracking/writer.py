"""The writer process: reads events from its standard input and mirrors them to MLflow.

It ends with the event "finish", or when the stage is gone without having sent it, which is how a
run gets the status KILLED although nothing can be done about a `kill -9`. Whatever goes wrong here
is told in one line, and the stage goes on.
"""

import json
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from filelock import Timeout

from scratchformer.dvc_record import flatten, read_stages
from scratchformer.terminal import warn
from scratchformer.tracking import child, parent
from scratchformer.tracking.curves import HISTORIES, read_curves
from scratchformer.tracking.execution import Execution, ProcessId
from scratchformer.tracking.store import Store, writer_lock

_LOOK_EVERY = 1.0  # seconds between two looks at whether the stage still lives
_FAILURES = 3  # events that may fail before the others are not even tried


def main() -> None:
    """Mirror one stage."""
    events: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
    threading.Thread(target=_read, args=(events,), daemon=True).start()
    first = events.get()
    if first is None:
        return
    lock = writer_lock(Path(first["workspace"]), first["stage"])
    try:
        with suppress(Timeout):  # the earlier writer serves a stage that still lives
            lock.acquire()
        _mirror(first, events)
    except Exception as error:  # noqa: BLE001 - the view must never stop the record, whatever broke
        _tell("this stage", error)


def _read(events: "SimpleQueue[dict[str, Any] | None]") -> None:
    for line in sys.stdin:
        if not line.endswith("\n"):
            break  # the stage was killed in the middle of a line
        events.put(json.loads(line))
    events.put(None)


def _mirror(first: dict[str, Any], events: "SimpleQueue[dict[str, Any] | None]") -> None:
    stage: str = first["stage"]
    process = ProcessId(**first["process"])
    execution = Execution(ProcessId(**first["execution"].pop("process")), **first["execution"])
    definitions = read_stages()
    store = Store(Path(first["workspace"]), first["params"]["tracking"]["experiment"])
    with store.lock:
        parent.close_dead(store)
        tags = {
            "scratchformer.params": parent.params_digest(parent.pipeline_params(definitions)),
            "mlflow.source.git.commit": _commit(),
        }
        parent_id = parent.find_or_create(store, execution, dict(flatten(first["params"])), tags)
        run = child.begin(
            store, stage, parent_id, definitions.get(stage, {}), first["params"], process
        )
    status = _follow(run, events, process)
    with store.lock:
        run.finish(status, process)
        try:
            if status == "FINISHED":
                if stage in HISTORIES:
                    run.fill(read_curves(HISTORIES[stage]))
                parent.refresh(store, parent_id, stage, definitions, read_stages(Path("dvc.lock")))
        finally:
            parent.settle(store, parent_id)


def _follow(
    run: child.Child, events: "SimpleQueue[dict[str, Any] | None]", process: ProcessId
) -> str:
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
                _tell(f"a part of this stage ({kind})", error)


def _tell(what: str, error: Exception) -> None:
    reason = " ".join(str(error).split()) or type(error).__name__
    warn(f"MLflow does not show {what}: {reason[:300]}; the results are not affected")


def _commit() -> str:
    """The commit that is checked out; empty outside Git."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


if __name__ == "__main__":
    main()
