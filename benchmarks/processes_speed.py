"""One process with two threads, or two processes with one each? The same updates, in turns.

    python benchmarks/processes_speed.py [--turns 2] [--updates 200]

The default model on the default data, two forward passes in an update, so that two processes have
one each. Every run is the stage train_scratch itself; the speed is the median of its windows, so
gates and validation do not count.
"""

import argparse
import csv
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from ruamel.yaml import YAML
from turns import machine_line

ROOT = Path(__file__).parents[1]
ARMS = ((1, 1), (2, 1), (2, 2))  # threads of all processes together, processes


def run(stage: str, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"scratchformer.stages.{stage}"], cwd=folder, capture_output=True,
        text=True, check=False, env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{stage} failed: {done.stderr[-2000:]}")


def tokens_a_second(folder: Path, threads: int, processes: int, updates: int) -> float:
    yaml = YAML()
    values = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    values["tracking"]["enabled"] = False
    values["run"].update(threads=threads, processes=processes)
    values["train_scratch"].update(
        accumulate=2, max_steps=updates, validate_every=updates, decode_samples=8,
        diagnose_every=0, log_every=max(1, updates // 10),
    )  # fmt: skip
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(values, file)
    if not (folder / "data" / "tokenized").exists():
        for stage in ("prepare", "tokenize"):
            run(stage, folder)
    shutil.rmtree(folder / ".checkpoints", ignore_errors=True)
    run("train_scratch", folder)
    with (folder / "reports/history/scratch/speed.csv").open(encoding="utf-8") as file:
        return statistics.median(float(row["tokens_per_second"]) for row in csv.DictReader(file))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--updates", type=int, default=200)
    arguments = parser.parse_args()
    print(machine_line("torch"))
    speeds: dict[tuple[int, int], list[float]] = {arm: [] for arm in ARMS}
    with tempfile.TemporaryDirectory() as place:
        for _ in range(arguments.turns):
            for arm in ARMS:
                speeds[arm].append(tokens_a_second(Path(place), *arm, arguments.updates))
    print("\n| processes × threads of each | target tokens a second | of one thread |")
    print("|---|---:|---:|")
    for (threads, processes), found in speeds.items():
        ratio = statistics.median(a / b for a, b in zip(found, speeds[ARMS[0]], strict=True))
        each = threads // processes
        print(f"| {processes} × {each} | {statistics.median(found):,.0f} | {ratio:.2f} × |")


if __name__ == "__main__":
    main()
