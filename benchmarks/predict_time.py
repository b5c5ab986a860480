"""How long does a cold `scratchformer predict` take, start of Python and imports included?

    python benchmarks/predict_time.py [--model models/finetuned] [--repeats 9]

Every repeat is a process of its own. `wall` is what a person waits; `cpu`, the time of all threads,
is steadier where others use the machine too. Medians, with the least and the most. `--model` may
be given several times; without it, the models of both tracks are asked.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMAND = [sys.executable, "-c", "from scratchformer.cli import main; main()", "predict"]
TEXT = "acute appendicitis"


def seconds_of(model: Path) -> tuple[float, float]:
    """(wall, cpu) of one process that answers one text."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([*COMMAND, "--model", str(model), TEXT], check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, os.times()
    cpu = after.children_user + after.children_system
    return wall, cpu - before.children_user - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, action="append")
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    for model in arguments.model or [Path("models/finetuned"), Path("models/scratch")]:
        seconds_of(model)  # the files are in the memory of the machine from here on
        times = [seconds_of(model) for _ in range(arguments.repeats)]
        for name, values in zip(("wall", "cpu"), zip(*times, strict=True), strict=True):
            print(
                f"{model}  {name}  {statistics.median(values):.2f} s  "
                f"[{min(values):.2f}, {max(values):.2f}]  n = {len(values)}"
            )


if __name__ == "__main__":
    main()
