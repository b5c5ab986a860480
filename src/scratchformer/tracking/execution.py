"""Which pipeline execution does a stage belong to, and is the process behind a run still alive?

Nothing in the environment identifies a plain `dvc repro`, but the nearest ancestor process that is
`dvc` does: by host, process id and start time, which together are unique. A queued experiment is
run by a `dvc exp exec-run` process of its own, so the same rule separates experiments.
"""

import os
import socket
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

_CLOCK_TOLERANCE = 2.0  # seconds by which two readings of one process's start time may differ
_SHELLS = {"sh", "bash", "dash", "zsh", "fish", "cmd.exe", "powershell.exe"}


@dataclass(frozen=True)
class ProcessId:
    """A process, told apart from later ones that were given the same number."""

    host: str
    pid: int
    started: float  # seconds since the epoch

    def alive(self) -> bool:
        """True while the process runs, and for processes of other hosts, which cannot be seen."""
        import psutil

        if self.host != socket.gethostname():
            return True
        try:
            process = psutil.Process(self.pid)
            gone = process.status() == psutil.STATUS_ZOMBIE
            return not gone and abs(process.create_time() - self.started) < _CLOCK_TOLERANCE
        except psutil.NoSuchProcess:
            return False

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}:{self.started:.2f}"


@dataclass(frozen=True)
class Execution:
    """One run of the pipeline: all stages that share it get the same parent in MLflow."""

    process: ProcessId
    command: str
    experiment_name: str | None
    baseline: str | None

    @property
    def key(self) -> str:
        return f"{self.process}:{self.experiment_name or ''}"


def this_process() -> ProcessId:
    """The current process."""
    import psutil

    return _identify(psutil.Process())


def current_execution() -> Execution:
    """The execution that this process is a stage of; a stage started by hand is one of its own."""
    import psutil

    me = psutil.Process()
    ancestors = me.parents()
    owner = next((process for process in ancestors if _is_dvc(_command_line(process))), None)
    if owner is None and "DVC_STAGE" in os.environ:
        # DVC was called as a library: its process is the nearest one that is no shell.
        owner = next((process for process in ancestors if process.name() not in _SHELLS), None)
    owner = owner or me
    words = _command_line(owner)
    start = next((at for at, word in enumerate(words) if _names_dvc(word)), 0)
    program, arguments = PurePath((words or ["?"])[start]).name, words[start + 1 :]
    return Execution(
        process=_identify(owner),
        command=" ".join([program, *arguments]),
        experiment_name=os.environ.get("DVC_EXP_NAME"),
        baseline=os.environ.get("DVC_EXP_BASELINE_REV"),
    )


def _identify(process: "psutil.Process") -> ProcessId:
    return ProcessId(socket.gethostname(), process.pid, process.create_time())


def _command_line(process: "psutil.Process") -> list[str]:
    import psutil

    try:
        return process.cmdline()
    except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def _is_dvc(words: list[str]) -> bool:
    """`dvc …`, `python /path/to/dvc …` or `python -m dvc …`."""
    return any(map(_names_dvc, words[:2])) or words[1:3] == ["-m", "dvc"]


def _names_dvc(word: str) -> bool:
    return PurePath(word).name in ("dvc", "dvc.exe")
