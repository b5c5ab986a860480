"""A loss or a gradient that is infinite or not a number: where it came from, and what is done.

`train_scratch.not_finite` chooses; in every case the optimizer never sees that gradient:

- raise: the training ends, with its last checkpoint in place.
- skip: this update is left out, the next batch goes on.
- rollback: the weights of the best validation come back, with empty moments and half the learning
  rate from here on. The number of the update goes on, so the batch is left behind, and the result
  does not depend on when checkpoints were written: a resumed training does the same.

What happened is counted in not_finite.csv. Too often, and the training ends all the same.
"""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scratchformer.base.errors import GateError
from scratchformer.base.files import write_json
from scratchformer.data.tokenized.batches import Batch
from scratchformer.runtime.device import machine
from scratchformer.runtime.processes import rank

MAX_LEFT_OUT = {"raise": 0, "skip": 20, "rollback": 3}  # times in one training
ROWS_SHOWN = 8


class NotFiniteError(GateError):
    """Loss or gradient is infinite or not a number; the weights were not touched by it."""


def first_not_finite(model: nn.Module, run_again: Callable[[], float]) -> str:
    """The first module whose output, or else whose gradient, is not finite, by its name.

    Hooks are costly, so the batch is run again with them once it has failed. A module reports
    after the modules inside it: the first report is the innermost. Gradients are looked at where
    they arrive, from the loss backwards.

    Args:
        model: its gradients are thrown away.
        run_again: forward and backward pass of the failed update; returns the loss.
    """
    outputs: list[str] = []
    arrivals: list[str] = []

    def look_back(name: str, gradient: Tensor) -> None:
        if not gradient.isfinite().all():
            arrivals.append(name)

    def look(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            return
        if not output.isfinite().all():
            outputs.append(name)
        elif output.requires_grad:
            output.register_hook(partial(look_back, name))  # type: ignore[no-untyped-call]

    handles = [
        module.register_forward_hook(partial(look, name))
        for name, module in model.named_modules()
        if name
    ]
    model.zero_grad(set_to_none=True)
    try:
        with machine().eager():
            loss = run_again()
    finally:
        for handle in handles:
            handle.remove()
    broken = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and not parameter.grad.isfinite().all()
    ]
    model.zero_grad(set_to_none=True)
    if outputs:
        return f"the output of {outputs[0]}"
    if not math.isfinite(loss):
        return "the loss, while every module's output is finite"
    if arrivals:
        return f"the gradient that arrives at {arrivals[0]}"
    if broken:
        return f"the gradient of {broken[-1]}"
    return "nothing, when the batch is run again"


def write_evidence(
    folder: Path, step: int, loss: float, norm: float, batches: list[Batch], where: str
) -> str:
    """Save what led to it; returns one line that tells it.

    The rows are those of the prepared training split, the records those of the tokenized one.
    """
    path = folder / f"not-finite-step-{step}.json"
    rows = sorted({int(row) for batch in batches for row in batch.rows})
    records = [batch.records.tolist() for batch in batches]
    found = {"step": step, "loss": str(loss), "norm": str(norm), "first": where}
    if not rank():
        write_json(path, {**found, "rows": rows, "records": records})
    shown = ", ".join(map(str, rows[:ROWS_SHOWN])) + (", …" if len(rows) > ROWS_SHOWN else "")
    return (
        f"step {step}: loss {loss}, gradient norm {norm}; first not finite: {where}. The weights "
        f"of step {step - 1} are kept. Training rows of the batch: {shown} (all in {path})"
    )


@torch.no_grad()
def put_back(
    parameters: dict[str, nn.Parameter],
    best: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> None:
    """The weights of the best validation, and an optimizer that remembers nothing."""
    for name, parameter in parameters.items():
        parameter.copy_(best[name])
    optimizer.state.clear()
