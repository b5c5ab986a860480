"""Whether this is one of several processes of one stage, and which.

`run.processes` (see launch.py), `torchrun` and `accelerate launch` say so in the environment.
"""

import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

PEER_LOST = 75  # EX_TEMPFAIL of sysexits.h: this process was well, another one ended


_worker = [0]  # the number of this process, if it is a worker


def number_worker(number: int) -> None:
    """Say in a worker process (see workers.py) which one it is, from 0."""
    _worker[0] = number


def world_size() -> int:
    """How many there are, on all machines."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def rank() -> int:
    """The number of this process, from 0. Rank 0 alone speaks and writes."""
    return int(os.environ["RANK"]) if world_size() > 1 else 0


def local_world_size() -> int:
    """How many of them are on this computer, and share its threads and devices."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if world_size() > 1 else 1


def local_rank() -> int:
    """The number of this process on its computer, from 0; of workers, which one it is."""
    return int(os.environ.get("LOCAL_RANK", "0")) if world_size() > 1 else _worker[0]


def is_mine(place: int) -> bool:
    """Whether this process takes the item at `place`: of three, the second takes 1, 4, 7, …"""
    return place % world_size() == rank()


def dealt(items: Iterable[Item]) -> Iterator[Item]:
    """The items that this process takes."""
    return (item for place, item in enumerate(items) if is_mine(place))
