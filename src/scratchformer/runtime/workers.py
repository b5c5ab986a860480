"""Batches of rows dealt out to worker processes of this computer; the results come in order.

For work on texts, which Python does on one core however many threads there are, and for models that
answer texts. The workers are spawned, not forked: no thread or lock of this process is copied into
them. Each gets the function once and then one batch after the other, and a few batches are under
way at a time, so memory does not grow with the rows. What a function returns depends on its batch
alone: the results are the same for any number of workers.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing import active_children, get_context, parent_process
from typing import Any, TypeVar

from scratchformer.base.errors import ScratchformerError
from scratchformer.runtime.processes import PEER_LOST, number_worker

Item = TypeVar("Item")
Result = TypeVar("Result")

FEW = 4  # batches: fewer are done here, before a worker has imported what it needs
_AHEAD = 2  # batches of each worker that are under way or wait to be fetched

_workers = [1]
_function: list[Callable[[Any], Any]] = []  # of a worker: what it was started for


class WorkerLostError(ScratchformerError):
    """A worker has ended without a result; nothing of the stage is written."""

    exit_code = PEER_LOST


def set_workers(count: int) -> None:
    """How many `in_order` may start from now on."""
    _workers[0] = count


def workers() -> int:
    """How many there are; 1 means that this process does the work itself."""
    return _workers[0]


def in_order(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`map(function, items)`, worked out by the workers.

    Args:
        function: of the top level of a module, or a `partial` of one; it is pickled.
        items: batches; an exception of theirs loses the results that are under way.

    Raises:
        WorkerLostError: a worker was killed.
    """
    count, items = workers(), iter(items)
    first = list(islice(items, FEW)) if count > 1 else []
    if len(first) < FEW:
        yield from map(function, chain(first, items))
        return
    spawn = get_context("spawn")
    pool = ProcessPoolExecutor(count, spawn, _start, (function, spawn.Value("i", 0)))
    try:
        waiting: deque[Future[Result]] = deque()
        for item in chain(first, items):
            waiting.append(_submit(pool, item))
            if len(waiting) > _AHEAD * count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        # The pool ends those that it knows; one that was just being started would wait for ever.
        for worker in active_children():
            worker.kill()
            worker.join()
        raise WorkerLostError(
            "a worker process has ended without a result (killed, or out of memory); run it "
            "again, with fewer processes if memory is short"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, item: Any) -> "Future[Any]":
    """One more batch; the pool may start a worker for it.

    Raises:
        BrokenProcessPool: a worker was lost. While another is being started, the pool does not say
            so: its pipes are closed under the start, which fails in one way or another.
    """
    try:
        return pool.submit(_work, item)
    except (OSError, ValueError) as error:
        raise BrokenProcessPool(str(error)) from error


def _start(function: Callable[[Any], Any], started: Any) -> None:
    """First of all in a worker. `started`: how many there were before; the number is shared."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends the pool
    with started.get_lock():
        number_worker(started.value)
        started.value += 1
    # The workers share the cores; the library would take all of them in each.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _function.append(function)


def _end_with_parent() -> None:
    """A parent that was killed cannot end its workers, and they would wait for ever."""
    parent = parent_process()
    assert parent is not None, "a worker without a parent"
    parent.join()
    os._exit(PEER_LOST)


def _work(item: Any) -> Any:
    return _function[0](item)
