"""Processes beside a search that show it in MLflow, one after the other; see `mirror`."""

import json
import subprocess
import sys
import time
from dataclasses import asdict

from scratchformer.base.terminal import warn
from scratchformer.search.space import Space
from scratchformer.tracking.execution import this_process
from scratchformer.tracking.mirror.store import quiet_environment

_EVERY = 20.0  # seconds between two starts: each imports MLflow
_PATIENCE = 120.0  # seconds that the end of a search waits


class Watcher:
    """Starts a mirror now and then while trials end. None of its failures reaches the search; the
    first is reported."""

    def __init__(self, space: Space, enabled: bool) -> None:
        self._command = [sys.executable, "-m", "scratchformer.search.mirror", space.name,
                         json.dumps(asdict(this_process()))]  # fmt: skip
        self._process: subprocess.Popen[str] | None = None
        self._enabled, self._shown, self._started = enabled, 0, 0.0

    def look(self, ended: int) -> None:
        """Show the trials, if others than before have ended."""
        due = time.monotonic() - self._started >= _EVERY
        if self._enabled and ended != self._shown and due and self._settled(0):
            self._start()
            self._shown = ended

    def finish(self) -> None:
        """Show the end of the search and wait for it."""
        if self._enabled and self._settled(_PATIENCE):
            self._start()
            if not self._settled(_PATIENCE):
                warn("MLflow has not answered; `scratchformer sync` shows the search later")

    def _start(self) -> None:
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            stdin=subprocess.DEVNULL, env=quiet_environment() | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def _settled(self, seconds: float) -> bool:
        """Whether no mirror runs (any more, after so many seconds)."""
        if self._process is None:
            return True
        try:
            output, _ = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        if self._process.returncode:
            warn(f"{output.strip() or 'MLflow does not show the search'} (the search goes on)")
            self._enabled = False
        self._process = None
        return self._enabled
