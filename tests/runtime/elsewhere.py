"""A device that is not the CPU, for machines without one.

Its tensors hold their numbers in ordinary ones of the CPU, call themselves "elsewhere:0", and
refuse what a GPU refuses: to be computed with a tensor of the CPU (but for single numbers), and to
be read by NumPy.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend


class _Backend:
    """What torch asks a module `torch.elsewhere` for."""

    manual_seed = staticmethod(torch.default_generator.manual_seed)
    manual_seed_all = staticmethod(lambda seed: None)
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16])
    is_initialized = is_available = staticmethod(lambda: True)
    _is_in_bad_fork = staticmethod(lambda: False)
    current_device = staticmethod(lambda: 0)
    device_count = staticmethod(lambda: 1)


# For the whole process: other tests must not see it.
_setup_privateuseone_for_python_backend("elsewhere", _Backend())
ELSEWHERE = torch.device("elsewhere:0")
aten = torch.ops.aten
MAY_CROSS = {aten._to_copy.default, aten.copy_.default}  # from one device to another


class MixedDevicesError(AssertionError):
    """An operation was given tensors of two devices."""


class Elsewhere(Tensor):
    """A tensor of the device ELSEWHERE."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "Elsewhere":
        made = Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, device=ELSEWHERE, requires_grad=False,
        )  # fmt: skip
        made.held = held
        return made

    def __repr__(self) -> str:
        return f"Elsewhere({self.held})"

    def tolist(self) -> Any:
        return self.held.tolist()

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["held"], None

    @staticmethod
    def __tensor_unflatten__(inner: Any, meta: Any, size: Any, stride: Any) -> "Elsewhere":
        return Elsewhere(inner["held"])

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What the device does with an operation."""
    asked = kwargs.get("device")
    tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
    here = [x for x in tensors if isinstance(x, Elsewhere)]
    there = [x for x in tensors if not isinstance(x, Elsewhere) and x.dim()]
    if here and there and func not in MAY_CROSS:
        raise MixedDevicesError(f"{func} was given {len(here)} tensors of {ELSEWHERE}, and of cpu: "
                                f"{[tuple(x.shape) for x in there]}")  # fmt: skip
    if func is aten._scaled_dot_product_fused_attention_overrideable.default:
        func = aten._scaled_dot_product_attention_math.default  # what the others are equal to
    on_device = bool(here) if asked is None else torch.device(asked).type == ELSEWHERE.type
    if func is aten.copy_.default:
        on_device = isinstance(args[0], Elsewhere)
    if func is aten._local_scalar_dense.default:
        on_device = False
    if asked is not None and on_device:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if kwargs.get("pin_memory"):
        kwargs = {**kwargs, "pin_memory": False}
    held_args, held_kwargs = tree_map(
        lambda x: x.held if isinstance(x, Elsewhere) else x, (args, kwargs)
    )
    out = func(*held_args, **held_kwargs)
    if not on_device:
        return out
    out = tree_map(lambda x: Elsewhere(x) if isinstance(x, Tensor) else x, out)
    return return_and_correct_aliasing(func, args, kwargs, out)


class ElsewhereMode(TorchDispatchMode):
    """Inside, ELSEWHERE can be asked for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


def _enter(self: torch.inference_mode) -> None:
    self.before = torch.is_grad_enabled()
    torch.set_grad_enabled(False)


def _exit(self: torch.inference_mode, *_: Any) -> None:
    torch.set_grad_enabled(self.before)


# Tensors that hold others cannot be sliced in inference mode; without gradients it is the same.
torch.inference_mode.__enter__, torch.inference_mode.__exit__ = _enter, _exit


torch_tensor = torch.tensor


def tensor(data: Any, device: Any = None, **options: Any) -> Tensor:
    """torch.tensor copies to its device where no mode sees it."""
    return torch_tensor(data, **options).to(device or "cpu")
