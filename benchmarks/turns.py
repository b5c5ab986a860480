"""Contenders in turns, so that a busy machine slows all of them alike; the ratio is what counts."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def in_turns(
    contenders: dict[str, Callable[[], float]], turns: int
) -> dict[str, list[tuple[float, float]]]:
    """name → (work a second of wall time, of CPU time) of each turn but the first.

    Args:
        contenders: each does its work once and returns how much it was (tokens, sentences).
    """
    speeds: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for turn in range(turns + 1):
        for name, work in contenders.items():
            wall, cpu = time.perf_counter(), time.process_time()
            done = work()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if turn:
                speeds[name].append((done / wall, done / cpu))
    return speeds


def table(speeds: dict[str, list[tuple[float, float]]], unit: str) -> str:
    """Markdown: ours (the first contender) as a multiple of each, then the speeds; medians."""
    ours = next(iter(speeds.values()))
    lines = [
        f"| | ours is (CPU time) | ours is (wall) | {unit} of CPU | {unit} of wall |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, theirs in speeds.items():
        wall, cpu = (
            statistics.median(a[at] / b[at] for a, b in zip(ours, theirs, strict=True))
            for at in (0, 1)
        )
        rates = [statistics.median(turn[at] for turn in theirs) for at in (1, 0)]
        lines.append(f"| {name} | {cpu:.2f} × | {wall:.2f} × | {rates[0]:,.0f} | {rates[1]:,.0f} |")
    return "\n".join(lines)


def machine_line(*packages: str) -> str:
    """Processor, its vector units, load and versions, for the line above a table."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    facts = dict(line.split("\t", 1) for line in lines if "\t" in line)
    name = facts.get("model name", ": ?").lstrip("\t: ")
    flags = facts.get("flags", "").split()
    units = [u for u in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if u in flags]
    versions = []
    for package in packages:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"{package} not installed")
    return (
        f"{name} ({', '.join(units)}), {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, {', '.join(versions)}"
    )
