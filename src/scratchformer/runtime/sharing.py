"""Batches that processes share out: each runs a model on some of them, and all get every result.

A batch is the same whoever takes it, and the results come in the order of the batches, bit for bit.
So what is made of them has the bytes of one process, whatever their number.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from scratchformer.runtime.processes import is_mine, world_size

Rows = NDArray[np.int64]
Result = tuple[NDArray[Any], ...]


def shared_out(
    batches: Iterable[Rows],
    run: Callable[[Rows], Result],
    advance: Callable[[int], None] = lambda rows: None,
) -> Iterator[tuple[Rows, Result]]:
    """Yield (batch, run(batch)) for every batch, in their order.

    One process runs a batch when its result is asked for. Several must all come here with the same
    batches; each runs its share and holds the results of all, after one exchange.

    Args:
        batches: numbers of rows.
        run: gives arrays; of several processes only those of its share.
        advance: called with the number of rows done.
    """
    if world_size() == 1:
        for batch in batches:
            yield batch, run(batch)
            advance(len(batch))
        return
    import torch

    from scratchformer.runtime.device import machine
    from scratchformer.runtime.distributed import all_gather_bytes

    batches, mine = list(batches), []
    for place, batch in enumerate(batches):
        if is_mine(place):
            mine.append(run(batch))
        advance(len(batch))  # the others are as far
    exchanged = all_gather_bytes(_packed(mine), torch.device(machine().device))
    shares = [_unpacked(share) for share in exchanged]
    for place, batch in enumerate(batches):
        turn, taker = divmod(place, world_size())
        yield batch, shares[taker][turn]


def _packed(results: list[Result]) -> bytes:
    named = {
        f"{turn}.{number}": np.ascontiguousarray(array)
        for turn, result in enumerate(results)
        for number, array in enumerate(result)
    }
    return bytes(save(named))


def _unpacked(content: bytes) -> list[Result]:
    arrays: dict[int, dict[int, NDArray[Any]]] = {}
    for name, array in load(content).items():
        turn, number = map(int, name.split("."))
        arrays.setdefault(turn, {})[number] = array
    return [
        tuple(arrays[turn][number] for number in sorted(arrays[turn])) for turn in sorted(arrays)
    ]
