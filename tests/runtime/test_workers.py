"""Work that is dealt out to worker processes of this computer."""

import operator
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing import active_children

import psutil
import pytest

from scratchformer.runtime.workers import FEW, WorkerLostError, in_order, set_workers

PROCESS = "__import__('os').getpid()"  # for `eval`: workers cannot import a file of tests


@pytest.fixture(autouse=True)
def one_worker_afterwards() -> Iterator[None]:
    yield
    set_workers(1)


def test_results_come_in_the_order_of_the_items() -> None:
    set_workers(3)
    assert list(in_order(operator.neg, range(40))) == [-number for number in range(40)]
    assert not active_children(), "the workers end with the work"


def test_few_items_start_no_worker() -> None:
    set_workers(2)
    assert set(in_order(eval, [PROCESS] * (FEW - 1))) == {os.getpid()}
    assert os.getpid() not in set(in_order(eval, [PROCESS] * FEW))


def test_workers_are_numbered() -> None:
    """By its number a worker takes the GPU that is its own."""
    set_workers(2)
    number = "__import__('scratchformer.runtime.processes').runtime.processes.local_rank()"
    waited = f"__import__('time').sleep(0.3) or {number}"
    assert set(in_order(eval, [waited] * 8)) == {0, 1}
    assert eval(number) == 0


def test_one_worker_is_this_process() -> None:
    assert set(in_order(eval, [PROCESS] * 10)) == {os.getpid()}


def test_a_failure_in_a_worker_is_raised_here() -> None:
    set_workers(2)
    with pytest.raises(ZeroDivisionError):
        list(in_order(partial(operator.truediv, 1), [1, 2, 0, 4, 5]))
    assert not active_children()


def test_a_worker_that_is_gone_ends_the_work() -> None:
    set_workers(2)
    with pytest.raises(WorkerLostError, match="run it again"):
        list(in_order(os._exit, range(10)))
    assert not active_children()


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.05, 0.1, 0.2])
def test_a_worker_that_is_killed_while_others_are_started_ends_the_work(seconds: float) -> None:
    """The pool of Python 3.11 waits for ever for one of these, or fails in some other way."""
    set_workers(3)
    killer = threading.Thread(target=kill_one_after, args=(seconds,))
    killer.start()
    with pytest.raises(WorkerLostError, match="run it again"):
        list(in_order(time.sleep, [0.02] * 60))
    killer.join()
    assert not active_children()


def kill_one_after(seconds: float) -> None:
    time.sleep(seconds)
    while not active_children():
        time.sleep(0.001)
    active_children()[0].kill()


def test_workers_end_with_a_parent_that_was_killed() -> None:
    code = (
        "import time\n"
        "from scratchformer.runtime.workers import in_order, set_workers\n"
        "if __name__ == '__main__':\n"
        "    set_workers(2)\n"
        "    for _ in in_order(time.sleep, [0.01] * 6 + [600] * 10): print('ready', flush=True)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    workers = psutil.Process(parent.pid).children(recursive=True)
    assert len(workers) >= 2
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(workers, timeout=20)
    for process in alive:
        process.kill()
    assert not alive
