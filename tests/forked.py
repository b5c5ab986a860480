"""Commands of this project as forks of the test process, which has imported every library already.

A stage as a process of its own spends 8 s on imports before its first line, and the writer of its
MLflow run another 4 s. A fork is as real a process: its own number, parent, signals, exit status,
folder, environment and streams; what it shares with its parent is imported modules and the hash
seed. Where those are the question a test takes `subprocess.Popen`.
"""

import atexit
import faulthandler
import logging
import os
import runpy
import signal
import subprocess
import sys
import threading
import traceback
import types
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

OURS = "scratchformer."


class ForkedPython(subprocess.Popen[Any]):
    """`subprocess.Popen`, but [sys.executable, ...] with a module of ours, a script or `-c` forks.

    So do the processes of this kind that the fork starts. All other commands are executed.
    """

    def _execute_child(self, args: Any, executable: Any, *others: Any) -> None:
        preexec, _, passed, folder, environment, _, _, shell, *streams = others[:14]
        words = [] if shell or isinstance(args, str) else [os.fspath(word) for word in args]
        if not _is_ours(words) or preexec or passed:
            super()._execute_child(args, executable, *others)
            return
        _warm_up()
        own_session = others[19]
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # or the child would write it again
        self.pid = os.fork()
        if self.pid == 0:
            _become(words, folder, environment, streams, own_session)
        self._child_created = True
        self._close_pipe_fds(*streams)


def _is_ours(words: list[str]) -> bool:
    if len(words) < 2 or words[0] != sys.executable or not hasattr(os, "fork"):
        return False
    return words[1] == "-c" or words[1].endswith(".py") or (
        words[1] == "-m" and words[2].startswith(OURS)
    )


def _warm_up() -> None:
    """Import once what every child would import on its own."""
    import mlflow.tracking  # noqa: F401
    import torch._dynamo  # noqa: F401
    import transformers  # noqa: F401


def _become(
    words: list[str], folder: Any, environment: Any, streams: list[int], own_session: bool
) -> None:
    """Be the process that the words name; does not return."""
    code = 1
    try:
        if own_session:
            os.setsid()
        _take_streams(streams)
        _forget_the_tests()
        if folder is not None:
            os.chdir(folder)
        if environment is not None:
            os.environ.clear()
            os.environ.update(environment)
        code = _run(words)
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _take_streams(streams: list[int]) -> None:
    """Its own 0, 1 and 2. Every other file turns into nothing under the same number, so that an
    object of the parent that is still to close it does no harm."""
    read_in, _, _, write_out, _, write_error = streams
    kept = [os.dup(fd) if fd >= 0 else -1 for fd in (read_in, write_out, write_error)]
    for number, fd in enumerate(kept):
        if fd >= 0:
            os.dup2(fd, number)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in [int(path.name) for path in Path("/dev/fd").iterdir()]:
        if number > 2 and number != nothing:
            os.dup2(nothing, number, inheritable=False)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
    options: dict[str, Any] = {"closefd": False, "mode": "w", "buffering": 1}
    sys.stdout = sys.__stdout__ = open(1, **options)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, **options, errors="backslashreplace")  # noqa: SIM115


def _forget_the_tests() -> None:
    """What pytest and earlier tests have put into this process."""
    faulthandler.disable()
    atexit._clear()
    subprocess.Popen = ForkedPython  # type: ignore[misc]
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.resetwarnings()
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", category)
    # runpy runs the module of a stage again, which some test has imported.
    warnings.filterwarnings("ignore", message=".*found in sys.modules", category=RuntimeWarning)
    warnings._showwarnmsg_impl = _print_warning  # type: ignore[attr-defined]
    logging.root.handlers.clear()
    for logger in list(logging.root.manager.loggerDict.values()):
        for handler in getattr(logger, "handlers", []):
            if type(handler) is logging.StreamHandler:
                handler.setStream(sys.stderr)
    for name in ("tracking", "model_registry"):  # no connection to a database lives in two
        module = sys.modules.get(f"mlflow.store.{name}.sqlalchemy_store")
        engines: Mapping[str, Any] = module.SqlAlchemyStore._engine_map if module else {}
        for engine in engines.values():
            engine.dispose(close=False)


def _print_warning(message: warnings.WarningMessage) -> None:
    sys.stderr.write(warnings.formatwarning(
        message.message, message.category, message.filename, message.lineno, message.line  # type: ignore[arg-type]
    ))  # fmt: skip


def _run(words: list[str]) -> int:
    """The exit status."""
    _, first, *rest = words
    try:
        if first == "-c":
            sys.argv, sys.path[0:0] = ["-c", *rest[1:]], [""]
            main = types.ModuleType("__main__")
            sys.modules["__main__"] = main
            exec(compile(rest[0], "<string>", "exec"), main.__dict__)
        elif first == "-m":
            sys.argv, sys.path[0:0] = [rest[0], *rest[1:]], [os.getcwd()]  # noqa: PTH109
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv, sys.path[0:0] = [first, *rest], [str(Path(first).resolve().parent)]
            runpy.run_path(first, run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        traceback.print_exc()
        sys.stderr.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # noqa: BLE001 # as the interpreter does
        traceback.print_exc()
        return 1
    return 0
