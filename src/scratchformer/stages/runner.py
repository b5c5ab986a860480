"""What every stage has in common: parameters in, one clear line and an exit code when it fails."""

import io
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scratchformer.base.errors import ParamsError, ScratchformerError
from scratchformer.base.phases import begin, spent, turn_to
from scratchformer.base.terminal import Summary, print_summary
from scratchformer.params import Params, load_params
from scratchformer.params.declared import only_declared
from scratchformer.record.dvc_record import read_stages
from scratchformer.runtime.device import Threads, count_threads, threads_of_process
from scratchformer.runtime.launch import count_processes, is_launched, launch, leave_last_word
from scratchformer.runtime.processes import local_rank, rank, world_size
from scratchformer.runtime.workers import set_workers

if TYPE_CHECKING:
    from types import FrameType

    from scratchformer.tracking import StageRun


class Terminated(KeyboardInterrupt):
    """SIGTERM, treated as Ctrl-C is: no `except Exception` in a library can swallow it."""


@dataclass(frozen=True)
class Deal:
    """What a stage deals out to several processes: at most one process a piece.

    Attributes:
        key: the parameter that says how many pieces an update has; None where any number of
            processes can share the work.
        pieces: that number.
        on_cpu: how many `auto` takes on a CPU at most; a training takes one for each thread.
    """

    key: str | None = None
    pieces: Callable[[Params], int] = lambda params: sys.maxsize
    on_cpu: int = sys.maxsize


def run_stage(
    stage: Callable[[Params, "StageRun"], Summary], deal: Deal | None = None
) -> None:
    """Run one stage as a process of its own and exit with its code.

    With `--debug` on the command line (or `SCRATCHFORMER_DEBUG=1` in the environment, for stages
    that DVC starts) an expected error shows its traceback too. A stage that can do better than
    stop at once on SIGTERM or SIGINT installs handlers of its own and raises `Interrupted`.

    Args:
        deal: of a stage that can run in `run.processes`; the others run in one.
    """
    begin("start")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # no sample may stop a stage: ≠ is not in ASCII
            stream.reconfigure(errors="replace")
    signal.signal(signal.SIGTERM, _terminate)
    try:
        params = load_params()
        processes = _processes(params, deal)
        if processes > world_size():
            sys.exit(launch(stage.__name__, processes))
        if rank():
            params = _silenced(params)
        set_threads(params.run.threads)
        if deal is None:
            set_workers(_workers(params))
        from scratchformer.tracking import stage_run

        with stage_run(stage.__name__, params) as run:
            turn_to("other")
            summary = stage(_declared(params, stage.__name__), run)
            turn_to("tracking")
        print_summary(summary, spent())
    except ScratchformerError as error:
        if "--debug" in sys.argv or os.environ.get("SCRATCHFORMER_DEBUG") == "1":
            raise
        _say_last(stage.__name__, str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt as stop:
        _say_last(stage.__name__, "interrupted; run it again to start over")
        sys.exit(128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT))


def _processes(params: Params, deal: Deal | None) -> int:
    """How many the stage runs in; when they are there already, all of them come to the same."""
    if deal is None:
        if world_size() > 1:
            raise ParamsError(
                f"started in {world_size()} processes, but it runs in one; only train_scratch, "
                "finetune and evaluate run in several"
            )
        return 1
    run, pieces = params.run, deal.pieces(params)
    count = world_size()
    if count == 1:
        threads = min(count_threads(run.threads), deal.on_cpu)
        count = count_processes(run.processes, pieces, run.device, threads)
    if count > pieces:
        raise ParamsError(
            f"run.processes: {count} processes, but {deal.key} is {pieces}: an update cannot "
            f"be split further; set processes: {pieces} or auto, or raise {deal.key}"
        )
    return count


def _workers(params: Params) -> int:
    """Worker processes of a stage that works on texts; they change no byte of what it writes.

    `auto` is one: on two cores, two were no faster (benchmarks/RESULTS.md).
    """
    asked = params.run.processes
    return 1 if asked == "auto" else asked


def _say_last(stage: str, text: str) -> None:
    """Of several processes their launcher speaks; under torchrun, the first of each computer."""
    if is_launched():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # of the launcher: it is ending already
        leave_last_word(text)
    elif not local_rank():
        print(f"{stage}: {text}", file=sys.stderr)


def _declared(params: Params, stage: str) -> Params:
    """What dvc.yaml lets the stage read; all, where dvc.yaml knows no such stage: nothing there
    depends on what it reads. Threads, workers and tracking are the runner's own business."""
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
    os.environ["RAYON_NUM_THREADS"] = str(threads)  # or tokenizers would take all cores
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
