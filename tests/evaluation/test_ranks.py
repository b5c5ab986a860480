"""The stage evaluate in two processes: the bytes of one, whoever of them is killed before."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML
from tests.forked import ForkedPython

from scratchformer.base.files import sha256
from scratchformer.params import Params
from scratchformer.runtime import distributed, processes, sharing
from scratchformer.runtime.processes import PEER_LOST

STAGE = [sys.executable, "-m", "scratchformer.stages.evaluate"]
KILLED = """
import importlib, os, runpy, signal
module = importlib.import_module({module!r})
setattr(module, {name!r}, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
runpy.run_module("scratchformer.stages.evaluate", run_name="__main__", alter_sys=True)
"""
OUTPUTS = ("reports", "models/calibration")
Processes = list["subprocess.Popen[str]"]


def start(
    params: Params, count: int, killed: int | None = None, dies_in: str | None = None
) -> Processes:
    """So many processes of the stage, as torch's launcher starts them, a thread each."""
    values = params.model_dump(mode="json")
    values["tracking"]["enabled"] = False
    values["run"] |= {"processes": count, "threads": count}
    with Path("params.yaml").open("w") as file:
        YAML().dump(values, file)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    world = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), **address}
    module, _, name = (dies_in or "").rpartition(".")
    dying = [sys.executable, "-c", KILLED.format(module=module, name=name)]
    return [
        ForkedPython(
            dying if rank == killed else STAGE, text=True,
            env=os.environ | world | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for rank in range(count)
    ]  # fmt: skip


def finish(started: Processes) -> list[tuple[int, str, str]]:
    """(exit code, what it said, errors) of each."""
    said = [each.communicate(timeout=60) for each in started]
    return [(each.returncode, *words) for each, words in zip(started, said, strict=True)]


def digests() -> dict[str, str]:
    files = [path for folder in OUTPUTS for path in Path(folder).rglob("*.*") if path.is_file()]
    return {path.as_posix(): sha256(path) for path in files}


@pytest.mark.parametrize(
    ("scratch", "finetune", "dies_in"),
    [
        ("words", "classes", "scratchformer.evaluation.tracks.class_models.embed"),
        ("classes", "sentences", None),
    ],
)
def test_two_processes_give_the_bytes_of_one_also_after_one_was_killed(
    workplace: Callable[[str, str], Params], scratch: str, finetune: str, dies_in: str | None
) -> None:
    params = workplace(scratch, finetune)
    ((code, said, errors),) = finish(start(params, 1))
    assert (code, errors) == (0, "") and "ran on  " in said
    alone = digests()
    assert len(alone) > 10
    for name in alone:
        Path(name).unlink()
    for killed in (1, 0) if dies_in else ():
        ended = finish(start(params, 2, killed, dies_in))
        code, _, errors = ended[1 - killed]
        assert (code, ended[killed][0]) == (PEER_LOST, -9), errors
        if killed:  # only the first of them speaks, or their launcher, which is not here
            assert errors.startswith("evaluate: another process of this stage has ended (")
        assert errors.count("\n") == bool(killed)
        assert digests() == {}
    writes = "scratchformer.base.files.write_json"  # the second would die of it
    (first, said, errors), (second, unsaid, more) = finish(start(params, 2, 1, writes))
    assert (first, second, errors + more + unsaid) == (0, 0, "")
    assert "2 threads, float32, 2 processes\n" in said
    assert digests() == alone


def test_each_process_runs_its_share_only_and_has_all_results_bit_for_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three ranks, one after the other; what they give is handed to the last one."""
    batches = [np.arange(start, start + 3) for start in range(0, 15, 3)]
    odd = np.array([-0.0, np.nan, 1e-300])  # a sum with zeros would lose the first
    ran: list[list[int]] = [[], [], []]
    given: list[bytes] = []
    monkeypatch.setenv("WORLD_SIZE", "3")

    def gather(content: bytes, *_: Any) -> list[bytes]:
        given.append(content)
        return given

    monkeypatch.setattr(distributed, "all_gather_bytes", gather)
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setattr(sharing, "is_mine", processes.is_mine)

        def run(part: np.ndarray, rank: int = rank) -> tuple[np.ndarray, ...]:
            ran[rank].append(int(part[0]))
            return part * odd, part[:, None].T > 4

        seen: list[int] = []
        found = sharing.shared_out(batches, run, seen.append)
        if rank < 2:
            with pytest.raises(IndexError):
                list(found)
    whole = list(found)
    assert ran == [[0, 9], [3, 12], [6]] and sum(seen) == 15
    for batch, (part, (values, flags)) in zip(batches, whole, strict=True):
        assert part is batch
        assert values.tobytes() == (batch * odd).tobytes()
        assert flags.tolist() == [(batch > 4).tolist()]
