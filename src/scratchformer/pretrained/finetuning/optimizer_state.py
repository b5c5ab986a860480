"""The state of the Trainer's optimizers: its size before there is any, and its way to the disk.

`finetune.optimizer` chooses among those of `TrainingArguments.optim` that need no further package
and work on every device. States are tensors, and with Adafactor whole numbers too; tensors go into
safetensors, numbers into JSON.
"""

from collections.abc import Callable, Iterable, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor

from scratchformer.base.registry import Registry

Shape = tuple[int, ...]


def _rows_and_columns(shape: Shape) -> int:
    """Adafactor keeps sums of the rows and of the columns of a matrix (Shazeer & Stern 2018)."""
    if len(shape) < 2:
        return prod(shape)
    return prod(shape[:-1]) + prod(shape[:-2]) * shape[-1]


# Numbers that are kept for a parameter of this shape.
STATE_SIZES: Registry[Callable[[Shape], int]] = Registry(
    "optimizer",
    {
        "adamw_torch_fused": lambda shape: 2 * prod(shape),
        "adamw_torch": lambda shape: 2 * prod(shape),
        "adafactor": _rows_and_columns,
        "sgd": lambda shape: 0,
        "adagrad": prod,
        "rmsprop": prod,
    },
)


def state_bytes(optimizer: str, parameters: Iterable[Tensor]) -> int:
    """What the state takes on the disk, counted before there is any: float32 numbers.

    Raises:
        ParamsError: there is no optimizer of that name.
    """
    return 4 * sum(STATE_SIZES[optimizer](tuple(each.shape)) for each in parameters)


def taken_apart(state: Mapping[int, Mapping[str, Any]]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, numbers) of an optimizer's `state_dict()["state"]`, by `{parameter}.{slot}`.

    A slot that is None, as the momentum of SGD without momentum, is left out.
    """
    slots = {
        f"{index}.{slot}": held for index, kept in state.items() for slot, held in kept.items()
    }
    tensors = {name: held for name, held in slots.items() if isinstance(held, torch.Tensor)}
    rest = {name: held for name, held in slots.items() if name not in tensors}
    return tensors, {name: held for name, held in rest.items() if held is not None}


def put_together(
    tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]
) -> dict[int, dict[str, Any]]:
    """Undo `taken_apart`."""
    state: dict[int, dict[str, Any]] = {}
    for name, held in {**tensors, **numbers}.items():
        index, slot = name.split(".")
        state.setdefault(int(index), {})[slot] = held
    return state
