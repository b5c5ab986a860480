"""How long do the commands take before they do something?

    python benchmarks/start_up.py FINISHED [--repeats 9]

FINISHED is a checkout in which `dvc repro` has run. Every repeat is a process of its own; wall
seconds, medians with the least and the most. A stage's start is the time from the start of Python
until the stage is called: params.yaml, and the process that writes its MLflow run. What the stage
itself imports comes after it; torch is given beside it.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from turns import machine_line

STAGE = """
import time
import psutil
from scratchformer.base.terminal import Summary
from scratchformer.stages.runner import run_stage
def prepare(params, run):
    print("took", time.time() - psutil.Process().create_time())
    return Summary("prepare", [], [])
run_stage(prepare)
"""
PYTHON, CLI = sys.executable, "from scratchformer.cli import main; main()"
COMMANDS = {
    "`scratchformer --help`": [PYTHON, "-c", CLI, "--help"],
    "`dvc repro`, nothing to do": [PYTHON, "-m", "dvc", "repro"],
    "`import torch`": [PYTHON, "-c", "import torch"],
    "`import mlflow`": [PYTHON, "-c", "import mlflow"],
    "Python itself": [PYTHON, "-c", ""],
}


def seconds_of(command: list[str], folder: Path) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def start_of_stage(command: list[str], folder: Path) -> float:
    said = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    return next(float(line.split()[1]) for line in said.splitlines() if line.startswith("took "))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("finished", type=Path)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    print(machine_line("torch", "dvc", "mlflow"))
    print("\n| | s | |\n|---|---:|---:|")
    for name, command in COMMANDS.items():
        measure(name, seconds_of, command, arguments.finished, arguments.repeats)
    with tempfile.TemporaryDirectory() as place:  # its runs are no runs of the checkout
        for name in ("params.yaml", "dvc.yaml"):
            shutil.copy(arguments.finished / name, place)
        stage = [PYTHON, "-c", STAGE]
        measure("start of a stage", start_of_stage, stage, Path(place), arguments.repeats)


def measure(
    name: str, seconds: Callable[[list[str], Path], float], command: list[str], folder: Path, n: int
) -> None:
    """Print a row of the table."""
    seconds(command, folder)  # the files are in memory from here on
    times = [seconds(command, folder) for _ in range(n)]
    span = f"{min(times):.2f} to {max(times):.2f}"
    print(f"| {name} | {statistics.median(times):.2f} | {span} |", flush=True)


if __name__ == "__main__":
    main()
