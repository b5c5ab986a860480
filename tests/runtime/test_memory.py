"""Freed memory stays with the process."""

import platform
import subprocess
import sys

import pytest

from scratchformer.runtime import device, memory

# Ten times the arrays of an update, and freed; the first time the memory is new in any case.
UPDATES = """
import resource
def update():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [b"1" * (8 << 20) for _ in range(8)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
update()
print(sum(update() for _ in range(10)))
"""


def faults(before: str) -> int:
    """Page faults of ten updates in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", before + UPDATES], text=True, capture_output=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator is set")
def test_an_update_meets_no_fresh_pages() -> None:
    pages = 10 * 8 * (8 << 20) // 4096
    assert faults("") > pages / 2  # what would be without it
    kept = "from scratchformer.runtime.memory import keep_freed_memory; assert keep_freed_memory()"
    assert faults(kept) < pages / 100


def test_another_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    monkeypatch.setattr("ctypes.CDLL", None)  # not even opened
    assert not memory.keep_freed_memory()


def test_a_machine_keeps_memory_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(device, "_opened", list(device._opened))
    monkeypatch.setattr(device, "keep_freed_memory", lambda: asked.append(True))
    device.open_machine("cpu", None)
    assert asked
