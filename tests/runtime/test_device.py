"""Which machine is found, and that nothing mixes it with the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.prediction.test_prediction import save_bert, save_scratch

from scratchformer.base.errors import ParamsError
from scratchformer.runtime import device

ROOT = Path(__file__).parents[2]


def flat(value: object) -> list[float]:
    """All numbers in nested lists."""
    if isinstance(value, list):
        return [number for each in value for number in flat(each)]
    return [float(value)] if isinstance(value, int | float) else []


def assert_the_same_elsewhere(folder: Path, *device: str, rtol: float) -> None:
    """Run everything on the CPU and on another device, see run_elsewhere.py, and compare."""
    save_scratch(folder / "scratch")
    save_bert(folder / "bert")
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("run_elsewhere.py"), folder, *device],
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1"},
        text=True, capture_output=True, check=False,
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if ": " not in line or "Error" in line]
    assert done.returncode == 0, "\n".join(line[:300] for line in said[-20:])
    found = json.loads(done.stdout)
    assert len(found["cpu"]) == 17
    for name, expected in found["cpu"].items():
        np.testing.assert_allclose(
            flat(found["elsewhere"][name]), flat(expected), rtol=rtol, atol=1e-5, err_msg=name
        )


@pytest.mark.slow
def test_everything_runs_on_another_device_and_gives_the_same(tmp_path: Path) -> None:
    """Updates, gates, diagnostics, validation, resuming, decoding, scoring, prediction, pictures.

    A tensor left on the CPU ends the process with the operation that met it."""
    assert_the_same_elsewhere(tmp_path, rtol=1e-4)


def test_the_machine_is_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_opened", [device._CPU])
    monkeypatch.setattr(torch, "set_num_threads", lambda number: asked.append(number))
    asked: list[int] = []
    found = device.open_machine("cpu", 2)
    assert device.machine() is found and asked == [2]
    assert found.describe() == "cpu, 2 threads, float32"
    assert found.facts() == {"machine.device": "cpu", "machine.threads": 2}
    device.open_machine("cpu", None)
    assert asked == [2]
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert device.open_machine("cpu", "auto").threads == 3
    for name, value in ("RANK", "1"), ("WORLD_SIZE", "4"), ("LOCAL_WORLD_SIZE", "2"):
        monkeypatch.setenv(name, value)
    assert device.open_machine("cpu", 6).threads == 6 and asked[-1] == 3  # two processes share
    assert device.open_machine("cpu", 1).threads == 1 and asked[-1] == 1


@pytest.mark.parametrize(
    ("asked", "units", "told"),
    [
        (("cuda", 1), {}, "run.device: cuda, but torch finds no CUDA device"),
        (("mps", 1), {}, "run.device: mps, but torch finds no Apple GPU"),
        (("cpu", 1, "bfloat16"), {"avx512f": True}, "run.precision: bfloat16, but the device cpu"),
        (("cpu", 1, "bfloat16"), {"avx512_bf16": True}, None),
    ],
)
def test_what_the_machine_lacks_is_told(
    asked: tuple[str, int],
    units: dict[str, bool],
    told: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device, "_opened", [device._CPU])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units)
    if told is None:
        with device.open_machine(*asked).autocast():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.bfloat16
    else:
        with pytest.raises(ParamsError, match=told):
            device.open_machine(*asked)
        assert device.machine() is device._CPU


def test_a_gpu_is_asked_for_equal_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """With warnings only, torch's fused attention has a backward pass that is not repeatable."""
    monkeypatch.setattr(device, "_opened", [device._CPU])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "a card")
    monkeypatch.setattr(torch.backends, "fp32_precision", torch.backends.fp32_precision)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    try:
        assert device.open_machine("cuda", None).describe() == "a card, float32"
        assert torch.get_deterministic_debug_mode() == 2  # 1 is "warn"
        assert torch.backends.fp32_precision == "ieee"
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_process_takes_the_gpu_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device._find("auto") == torch.device("cuda", 0)
    for name, value in ("WORLD_SIZE", "3"), ("LOCAL_WORLD_SIZE", "3"), ("RANK", "1"):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert device._find("cuda") == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ParamsError, match="process 3 of this computer finds 2 CUDA devices"):
        device._find("cuda")
