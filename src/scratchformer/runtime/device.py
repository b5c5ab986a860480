"""The machine that a process computes on: device, precision and threads, as section `run` says.

Nothing outside this file asks for CUDA. A stage calls `open_machine` first; whoever makes or loads
a model puts it there with `on_device`; whoever feeds one asks the model: `to_device_of`.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from scratchformer.base.errors import ParamsError
from scratchformer.runtime.memory import keep_freed_memory
from scratchformer.runtime.processes import local_rank, local_world_size, world_size

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["float32", "bfloat16"]
Threads = int | Literal["auto"]


@dataclass(frozen=True)
class Machine:
    """What was found of what params.yaml asks for.

    Attributes:
        device: "cpu", "mps", "cuda:0", …
        name: of the device, as its maker calls it.
        precision: of the matrix products. Weights, sums, norms and losses are float32 in any case.
        threads: of the CPU, shared by the processes of one training on this computer.
        compile: whether a training goes through torch.compile.
    """

    device: str
    name: str
    precision: Precision
    threads: int
    compile: bool = False

    def autocast(self) -> "AbstractContextManager[object]":
        """Inside, matrix products are made in `precision`. For forward passes only: a backward
        pass takes the types of its forward pass by itself."""
        import torch

        kind = self.device.partition(":")[0]
        return torch.autocast(kind, torch.bfloat16, enabled=self.precision == "bfloat16")

    def eager(self) -> "AbstractContextManager[object]":
        """Inside, nothing is compiled: for hooks, which compiled code does not see, and for
        decoding, where every step has another shape."""
        if not self.compile:
            return nullcontext()
        from torch.compiler import set_stance

        stance: AbstractContextManager[object] = set_stance("force_eager")
        return stance

    def describe(self) -> str:
        """For summaries: "cpu, 2 threads, float32"."""
        parts = [self.name]
        if self.device == "cpu":
            parts.append("1 thread" if self.threads == 1 else f"{self.threads} threads")
        parts.append(self.precision)
        if self.compile:
            parts.append("compiled")
        if world_size() > 1:
            parts.append(f"{world_size()} processes")
        return ", ".join(parts)

    def facts(self) -> dict[str, str | int | float | bool | None]:
        """What the last bits of a result depend on, for the fingerprint of a training. Not the
        processes: one number of them goes on where another stopped."""
        return {"machine.device": self.name, "machine.threads": self.threads}


_CPU = Machine("cpu", "cpu", "float32", 1)
_opened = [_CPU]  # of this process: torch's threads and its present GPU are the process's as well


def open_machine(
    device: DeviceName,
    threads: Threads | None,
    precision: Precision = "float32",
    compiled: bool = False,
) -> Machine:
    """Find the device and set torch up for it; `machine()` returns it from then on.

    float32 means float32: torch's TF32, which cuts the factors of a product to 10 bits, stays off.
    On a GPU only kernels are taken that give equal bytes for equal inputs; an operation that has
    none raises a RuntimeError that names it.
    On the CPU freed memory is kept for the next update.

    Args:
        threads: None leaves torch the number that it has.

    Raises:
        ParamsError: this computer lacks what is asked for.
    """
    import torch

    found = _find(device)
    if precision == "bfloat16" and not _has_bfloat16(found):
        raise ParamsError(
            f"run.precision: bfloat16, but the device {found.type} of this computer has no units "
            "for it; set precision: float32"
        )
    if compiled:
        _check_compiler(found)
    if threads is None:
        count = torch.get_num_threads()
    else:
        count = count_threads(threads)
        torch.set_num_threads(threads_of_process(threads))
    name = found.type
    if found.type == "cpu":
        keep_freed_memory()
    if found.type == "cuda":
        torch.backends.fp32_precision = "ieee"  # type: ignore[attr-defined]
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
        # With warn_only=True the backward passes of fused attention would stay what they are.
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.cuda.set_device(found)
        name = torch.cuda.get_device_name(found)
    _opened[0] = Machine(str(found), name, precision, count, compiled)
    return _opened[0]


def machine() -> Machine:
    """What `open_machine` found; before it is called, the CPU in float32."""
    return _opened[0]


def on_device(model: Any) -> Any:
    """The same model, its weights on the device of this process."""
    return model.to(machine().device)


def to_train(model: Any) -> Any:
    """The same, and its stacks of layers compiled if that is asked for."""
    if machine().compile:
        for stack in (model.encoder, getattr(model, "decoder", None)):
            if stack is not None:
                stack.compile(dynamic=True)
    return on_device(model)


def device_of(model: "nn.Module") -> "torch.device":
    """Where the weights of a model are."""
    return next(model.parameters()).device


def to_device_of(model: "nn.Module", array: "np.ndarray") -> "Tensor":
    """The array as a tensor beside the weights of the model."""
    import torch

    return torch.from_numpy(array).to(device_of(model))


def widest_float(device: "torch.device") -> "torch.dtype":
    """Of sums that must not lose digits: float64, which Apple's GPUs lack."""
    import torch

    return torch.float32 if device.type == "mps" else torch.float64


def seed_device(device: "torch.device", seed: int) -> None:
    """Seed the generator that dropout on this device draws from, and the CPU's.

    `torch.manual_seed` would seed all devices there are, which takes milliseconds without a GPU.
    """
    import torch

    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


def count_threads(threads: Threads) -> int:
    """`auto`: the cores that this process may use (a container may have fewer than its machine)."""
    if threads != "auto":
        return threads
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_of_process(threads: Threads) -> int:
    """The share of this process, at least 1."""
    return max(1, count_threads(threads) // local_world_size())


def _find(device: DeviceName) -> "torch.device":
    import torch

    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if device == "auto":
        device = "cuda" if cuda else "cpu"
    if device == "cuda":
        if not cuda:
            raise ParamsError(
                "run.device: cuda, but torch finds no CUDA device here; set device: auto, or "
                "install a build of torch for CUDA"
            )
        index, count = local_rank(), torch.cuda.device_count()
        if index >= count:
            raise ParamsError(
                f"process {index + 1} of this computer finds {count} CUDA devices, but each takes "
                f"one of its own; set the number of processes to {count}"
            )
        return torch.device("cuda", index)
    if device == "mps" and not mps:
        raise ParamsError("run.device: mps, but torch finds no Apple GPU here; set device: auto")
    return torch.device(device)


def _has_bfloat16(device: "torch.device") -> bool:
    """Whether the device multiplies matrices of bfloat16 itself. Without such units a CPU
    imitates them, slower than it computes in float32."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        units = torch.cpu.get_capabilities()
        return bool(units.get("avx512_bf16") or units.get("amx_bf16") or units.get("bf16"))
    return False


def _check_compiler(device: "torch.device") -> None:
    """torch.compile writes C++ for the CPU and Triton for GPUs, and needs what translates it."""
    if device.type == "cpu":
        from torch._inductor.cpp_builder import get_cpp_compiler
        from torch._inductor.exc import InvalidCxxCompiler

        try:
            get_cpp_compiler()
        except InvalidCxxCompiler:
            raise ParamsError(
                "run.compile: true, but there is no C++ compiler here; install g++ or set "
                "compile: false"
            ) from None
    elif device.type == "cuda" and not find_spec("triton"):
        raise ParamsError(
            "run.compile: true, but the package triton is not installed; set compile: false"
        )
