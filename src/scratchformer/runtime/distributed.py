"""What the processes of one stage exchange.

In a training all weights stay equal, and what one process alone knows (a gradient of its share, a
signal, the time, the scores of a validation) goes through the functions here: all take the same
decisions at the same update. A process that is alone gets back what it gave.

A sum over processes differs from that of one process in the order of addition only, and for one
number of processes it has the same bytes every time, in each of them.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor, nn
from torch import distributed as group

from scratchformer.base.errors import ScratchformerError
from scratchformer.runtime.device import machine
from scratchformer.runtime.processes import PEER_LOST, rank, world_size

_LOSS = re.compile(r"gloo/transport|NCCL|Connection (closed|reset) by peer")
_PATIENCE = timedelta(hours=2)  # of those that wait while the first runs gates or writes


class PeerLostError(ScratchformerError):
    """Another process of this stage has ended; what this one has done is of no use."""

    exit_code = PEER_LOST


@contextmanager
def joined() -> Iterator[None]:
    """Inside, the processes of one stage can exchange: Gloo on the CPU, NCCL on CUDA devices.

    Raises:
        PeerLostError: another process ended inside.
    """
    if world_size() == 1:
        yield
        return
    kind = "nccl" if machine().device.startswith("cuda") else "gloo"
    with _told_of_loss():
        group.init_process_group(kind, timeout=_PATIENCE)
    try:
        yield
    except RuntimeError as error:  # of an exchange that a library made
        if _LOSS.search(str(error)):
            raise _as_loss(error) from error
        raise
    wait_for_first(torch.device(machine().device))  # it writes the outputs; nobody leaves before
    group.destroy_process_group()


def all_reduce_sum(values: Sequence[float], device: torch.device) -> list[float]:
    """The sums over all processes."""
    return _exchange(values, device, lambda tensor: group.all_reduce(tensor, group.ReduceOp.SUM))


def all_reduce_max(values: Sequence[float], device: torch.device) -> list[float]:
    """The largest over all processes, each value for itself."""
    return _exchange(values, device, lambda tensor: group.all_reduce(tensor, group.ReduceOp.MAX))


def broadcast_from_first(values: Sequence[float], device: torch.device) -> list[float]:
    """The values of the first process; the others give as many of any kind."""
    return _exchange(values, device, lambda tensor: group.broadcast(tensor, src=0))


def broadcast_bytes(content: bytes, device: torch.device) -> bytes:
    """The bytes of the first process; those of the others do not count."""
    if world_size() == 1:
        return content
    (length,) = broadcast_from_first([len(content)], device)
    room = bytearray(content) if rank() == 0 else bytearray(int(length))
    row = torch.frombuffer(room, dtype=torch.uint8).to(device)
    with _told_of_loss():
        group.broadcast(row, src=0)
    return row.cpu().numpy().tobytes()


def all_gather_bytes(content: bytes, device: torch.device) -> list[bytes]:
    """What each process gives, by rank."""
    if world_size() == 1:
        return [content]
    known = [len(content) if place == rank() else 0 for place in range(world_size())]
    lengths = [int(length) for length in all_reduce_sum(known, device)]
    padded = bytearray(content).ljust(max(*lengths, 1), b"\0")
    row = torch.frombuffer(padded, dtype=torch.uint8).to(device)
    rows = [torch.empty_like(row) for _ in lengths]
    with _told_of_loss():
        group.all_gather(rows, row)
    return [
        row[:length].cpu().numpy().tobytes() for row, length in zip(rows, lengths, strict=True)
    ]


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Put the sum of its gradients over all processes into every parameter.

    One exchange of all of them in one row, in their own precision (float32). Every process has
    made the same backward passes, over other batches, so the same parameters have a gradient.
    """
    if world_size() == 1:
        return
    trained = [(p, p.grad) for p in parameters if p.grad is not None]
    row = torch.cat([gradient.flatten() for _, gradient in trained])
    with _told_of_loss():
        group.all_reduce(row)
    parts = torch.split(row, [gradient.numel() for _, gradient in trained])
    for (parameter, gradient), part in zip(trained, parts, strict=True):
        parameter.grad = part.view_as(gradient)


def sum_tensor(tensor: Tensor) -> Tensor:
    """The sum over all processes, in place."""
    if world_size() > 1:
        with _told_of_loss():
            group.all_reduce(tensor)
    return tensor


def wait_for_first(device: torch.device) -> None:
    """Go on when the first process has come to this line too."""
    broadcast_from_first([0.0], device)


def _exchange(
    values: Sequence[float], device: torch.device, how: Callable[[Tensor], object]
) -> list[float]:
    if world_size() == 1:
        return list(values)
    tensor = torch.tensor(values, dtype=torch.float64, device=device)
    with _told_of_loss():
        how(tensor)
        return [float(value) for value in tensor]


@contextmanager
def _told_of_loss() -> Iterator[None]:
    """torch raises a plain RuntimeError, with the line of its C++ source, when a peer is gone."""
    try:
        yield
    except RuntimeError as error:
        raise _as_loss(error) from error


def _as_loss(error: RuntimeError) -> PeerLostError:
    # Without the line of the C++ source that stands before it, and the advice after it.
    reason = re.sub(r"^\[[^]]*\] ", "", str(error).partition("\n")[0]).partition(". ")[0]
    return PeerLostError(f"another process of this stage has ended ({reason}); run it again")
