"""The stage's side of tracking: what happens is sent to the writer process and forgotten.

No call blocks for longer than it takes to put a line into a pipe, and none raises because of
MLflow. When tracking is off, or the writer cannot be started or dies, every call does nothing.
"""

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scratchformer.base.errors import Interrupted
from scratchformer.base.terminal import warn
from scratchformer.base.workspace import workspace_root
from scratchformer.params import Params
from scratchformer.tracking.execution import current_execution, this_process
from scratchformer.tracking.mirror.store import quiet_environment

_PATIENCE = 120.0  # seconds a finished stage waits for its writer
_HURRY = 1.5  # the same for a stage that failed or was told to stop


class StageRun:
    """What a stage tells MLflow; made by `stage_run`."""

    def __init__(self, writer: "_Writer | None") -> None:
        self._writer = writer

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """A point of every named curve. Of two values for one metric and step the first stands,
        so a resumed training may replay its history."""
        plain = {key: float(value) for key, value in values.items()}
        self._send("metrics", values=plain, step=int(step), at=int(time.time() * 1000))

    def log_summary(self, values: Mapping[str, Any]) -> None:
        """Final results: nested names are joined with ".", numbers become metrics, words tags."""
        self._send("summary", values=values)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file or a folder into the run, below `folder`."""
        self._send("artifact", path=str(path), folder=folder)

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """A table that MLflow shows beside those of other runs."""
        self._send("table", name=name, rows=[dict(row) for row in rows])

    def log_input(self, name: str, path: Path, context: str) -> None:
        """Name a data set that the stage reads; its digest is the one in dvc.lock."""
        self._send("input", name=name, path=str(path), context=context)

    def _send(self, event: str, **fields: Any) -> None:
        if self._writer is not None:
            self._writer.send(event, **fields)


class _Writer:
    """The writer process and the pipe to it.

    A line goes into the pipe at once, so that what was logged survives a `kill -9` of the stage.
    When the pipe is full, or cannot be written to without waiting (on Windows), a thread holds the
    line until there is room: a full pipe never stops a stage.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scratchformer.tracking.live.writer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Not ours: who waits for the end of our output must not wait for the writer too.
            stderr=subprocess.DEVNULL,
            env=quiet_environment() | {"OMP_NUM_THREADS": "1"},
            # Ctrl-C in a terminal reaches the whole group; the writer must live to record it.
            start_new_session=True,
            bufsize=0,
        )
        self._waiting: deque[bytes | None] = deque()
        self._changed = threading.Condition()
        self._warnings = 0
        if os.name == "posix":
            assert self._process.stdin is not None
            os.set_blocking(self._process.stdin.fileno(), False)
        threading.Thread(target=self._feed, daemon=True).start()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def send(self, event: str, **fields: Any) -> None:
        line = json.dumps({"event": event, **fields}, default=_plain) + "\n"
        self._put(line.encode())

    def _put(self, line: bytes | None) -> None:
        with self._changed:
            if line is not None and not self._waiting and os.name == "posix":
                line = line[self._write(line) :]
            if line != b"":
                self._waiting.append(line)
                self._changed.notify()

    def _write(self, line: bytes) -> int:
        """How many bytes the pipe took; all, if nobody reads them any more."""
        assert self._process.stdin is not None
        try:
            return self._process.stdin.write(line) or 0
        except BrokenPipeError:  # a writer that is gone has said why
            return len(line)

    def _feed(self) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                line = self._waiting[0]
            if line is None:
                with suppress(BrokenPipeError):
                    pipe.close()
                return
            while line:
                if os.name == "posix":
                    select.select([], [pipe], [])
                line = line[self._write(line) :]
            with self._changed:
                self._waiting.popleft()

    def finish(self, status: str, wait: float) -> None:
        """Send the last event and give the writer `wait` seconds; later it ends on its own."""
        self.send("finish", status=status)
        self._put(None)
        try:
            code = self._process.wait(wait)
        except subprocess.TimeoutExpired:
            if status == "FINISHED":
                warn(f"MLflow has not answered for {wait:.0f} s; its view is written when it does")
            return
        self._listener.join()
        if code and not self._warnings:
            warn(f"MLflow does not show this stage: its writer ended with code {code}")

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._warnings += 1
            warn(f"{line.decode(errors='replace').rstrip()} (the results are not affected)")


@contextmanager
def stage_run(stage: str, params: Params) -> Iterator[StageRun]:
    """Mirror one stage: FINISHED, FAILED or KILLED as the block ends, or as the process dies.

    A stage that was killed or failed and is run again on the same parameters, inputs and code
    continues its MLflow run. The writer creates that run and the parent of the execution.
    """
    writer = _start(stage, params) if params.tracking.enabled else None
    status, wait = "FAILED", _HURRY
    try:
        yield StageRun(writer)
        status, wait = "FINISHED", _PATIENCE
    except (KeyboardInterrupt, Interrupted):
        status = "KILLED"
        raise
    finally:
        if writer is not None:
            writer.finish(status, wait)


def _start(stage: str, params: Params) -> _Writer | None:
    try:
        writer = _Writer()
    except OSError as error:
        warn(f"tracking is off for this stage: {error}")
        return None
    writer.send(
        "begin",
        stage=stage,
        params=params.model_dump(mode="json"),
        workspace=str(workspace_root()),
        process=asdict(this_process()),
        execution=asdict(current_execution()),
    )
    return writer


def _plain(value: Any) -> Any:
    """Numbers of numpy and torch as Python's, everything else as text."""
    return value.item() if hasattr(value, "item") else str(value)
