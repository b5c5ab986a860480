"""A stage that starts itself in several processes of this computer, under torch's own launcher.

`run.processes` says how many. The launcher makes the rendezvous, watches the processes and ends
them all when one is gone; nothing is started again, because the next `dvc repro` takes a training
up at its last checkpoint. It stays behind as their parent, speaks the last word for all of them,
and has their exit code. On several computers `torchrun` takes its place, see docs/processes.md.
"""

import logging
import os
import sys
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from signal import Signals
from typing import Literal

import psutil

from scratchformer.runtime.device import DeviceName, Threads, count_threads
from scratchformer.runtime.processes import PEER_LOST, rank, world_size

Processes = int | Literal["auto"]

_TO_STOP = 120  # seconds from SIGTERM, which a process answers after its update, to SIGKILL
_LAST_WORDS = "SCRATCHFORMER_LAST_WORDS"  # a folder, in the environment of what was launched


def count_processes(asked: Processes, most: int, device: DeviceName, threads: Threads) -> int:
    """How many processes `run.processes` means here.

    `auto`: one for each CUDA device; on the CPU one for each thread, because threads of one process
    wait for each other at every product. Never more than `most`.

    Args:
        most: what one update can be dealt out to.
        threads: of the CPU, by which processes are counted.
    """
    if asked != "auto":
        return asked
    if most == 1 or device == "mps":
        return 1
    if device != "cpu":
        import torch

        if torch.cuda.is_available():
            return min(most, torch.cuda.device_count())
    return min(most, count_threads(threads))


def is_launched() -> bool:
    """Whether `launch` started this process."""
    return world_size() > 1 and _LAST_WORDS in os.environ


def leave_last_word(text: str) -> None:
    """What this process would say at its end, if it were alone; the launcher chooses."""
    Path(os.environ[_LAST_WORDS], str(rank())).write_text(text, encoding="utf-8")


def launch(stage: str, count: int) -> int:
    """Run this very command in `count` processes; returns its exit code when all have ended.

    SIGTERM and SIGINT go to all of them; a training then stops after its update.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable(logging.CRITICAL)  # of the launcher, which tells the same in ten lines
    with tempfile.TemporaryDirectory(prefix="scratchformer-") as folder:
        os.environ[_LAST_WORDS] = folder
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=f"{folder}/torch"),
            signals_to_handle="SIGTERM,SIGINT",
            shutdown_timeout=_TO_STOP,
        )
        try:
            elastic_launch(config, sys.executable)(*sys.orig_argv[1:])
        except ChildFailedError as ended:
            codes = {number: end.exitcode for number, end in ended.failures.items()}
        except SignalException as stop:
            for impatient in psutil.Process().children():  # a second signal does not wait for them
                impatient.kill()
            codes = {0: 128 + stop.sigval}
        else:
            return 0
        code, word = _verdict(codes, Path(folder))
    if word:
        print(f"{stage}: {word}", file=sys.stderr)
    return code


def _verdict(exit_codes: Mapping[int, int], last_words: Path) -> tuple[int, str]:
    """(exit code, last word) of the process that ended for a reason of its own.

    Args:
        exit_codes: of the processes that did not end well, by rank, the first to end first;
            below 0 is the signal that ended it.
    """
    causes = [end for end in exit_codes.items() if end[1] != PEER_LOST]
    number, code = next(iter(causes or exit_codes.items()))
    if code < 0:
        return 128 - code, (
            f"process {number} was ended by {Signals(-code).name}, and the others with it; run it "
            "again"
        )
    word = last_words / str(number)
    return code, word.read_text(encoding="utf-8") if word.exists() else ""
