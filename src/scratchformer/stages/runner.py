"""What every stage has in common: parameters in, one clear line and an exit code when it fails."""

import io
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from scratchformer.base.errors import ParamsError, ScratchformerError
from scratchformer.base.terminal import Summary, print_summary
from scratchformer.params import Params, load_params
from scratchformer.params.declared import only_declared
from scratchformer.record.dvc_record import read_stages
from scratchformer.runtime.device import Threads, threads_of_process
from scratchformer.runtime.processes import rank, world_size

if TYPE_CHECKING:
    from types import FrameType

    from scratchformer.tracking import StageRun


class Terminated(KeyboardInterrupt):
    """SIGTERM, treated as Ctrl-C is: no `except Exception` in a library can swallow it."""


def run_stage(
    stage: Callable[[Params, "StageRun"], Summary], several: bool = False
) -> None:
    """Run one stage as a process of its own and exit with its code.

    With `--debug` on the command line (or `SCRATCHFORMER_DEBUG=1` in the environment, for stages
    that DVC starts) an expected error shows its traceback too. A stage that can do better than
    stop at once on SIGTERM or SIGINT installs handlers of its own and raises `Interrupted`.

    Args:
        several: the stage can run in several processes at once, see `processes`.
    """
    start = time.monotonic()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # no sample may stop a stage: ≠ is not in ASCII
            stream.reconfigure(errors="replace")
    signal.signal(signal.SIGTERM, _terminate)
    try:
        params = load_params()
        if world_size() > 1 and not several:
            raise ParamsError(
                f"started in {world_size()} processes, but it runs in one; only "
                "scratchformer.stages.finetune runs in several"
            )
        if rank():
            params = _silenced(params)
        set_threads(params.run.threads)
        from scratchformer.tracking import stage_run

        with stage_run(stage.__name__, params) as run:
            summary = stage(_declared(params, stage.__name__), run)
        print_summary(summary, time.monotonic() - start)
    except ScratchformerError as error:
        if "--debug" in sys.argv or os.environ.get("SCRATCHFORMER_DEBUG") == "1":
            raise
        if not rank():
            print(f"{stage.__name__}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt as stop:
        if not rank():
            print(f"{stage.__name__}: interrupted; run it again to start over", file=sys.stderr)
        sys.exit(128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT))


def _declared(params: Params, stage: str) -> Params:
    """What dvc.yaml lets the stage read; all, where dvc.yaml knows no such stage: nothing there
    depends on what it reads. Threads and tracking are the runner's own business."""
    definition = read_stages().get(stage)
    if definition is None:
        return params
    return only_declared(params, stage, definition.get("params") or [])


def _silenced(params: Params) -> Params:
    """Of several processes the first speaks, and is mirrored to MLflow, for all."""
    sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 # to the very end
    tracking = params.tracking.model_copy(update={"enabled": False})
    return params.model_copy(update={"tracking": tracking})


def _terminate(number: int, frame: "FrameType | None") -> None:
    raise Terminated


def set_threads(asked: Threads) -> None:
    """Give the libraries the same number of threads on every machine: it changes the last bits."""
    threads = threads_of_process(asked)
    # They read these once, when they are first imported; torch may be there already.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["MKL_DYNAMIC"] = "FALSE"  # or it takes fewer threads than asked where cores are few
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
