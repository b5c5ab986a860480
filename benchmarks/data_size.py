"""Time and memory of the stages prepare and tokenize against the number of rows.

    python benchmarks/data_size.py [--rows 100000 1000000]

The rows are pairs of 3 to 20 random words each out of 20,000, in two text files; both tracks of the
smallest other settings. Each stage is a process of its own: seconds are those of all its threads,
memory is the largest resident set. No DVC, no MLflow.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from ruamel.yaml import YAML
from turns import machine_line

ROOT = Path(__file__).parents[1]
SOURCE = {
    "kind": "files", "format": "parallel_text", "train": "rows.en", "train_target": "rows.de",
}  # fmt: skip


def write_pairs(folder: Path, rows: int) -> None:
    """Two files of random words; the second has the words of the first, turned round."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(20_000)]
    with (folder / "rows.en").open("w") as source, (folder / "rows.de").open("w") as target:
        for _ in range(rows):
            some = draw.choices(words, k=draw.randint(3, 20))
            source.write(" ".join(some) + "\n")
            target.write(" ".join(reversed(some)) + "\n")


def write_params(folder: Path) -> None:
    yaml = YAML()
    values = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    values["prepare"]["scratch"]["source"] = SOURCE
    values["tokenize"]["scratch"]["source"]["algorithm"] = "word"
    values["tracking"]["enabled"] = False
    values["run"]["threads"] = 1
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(values, file)


def measured(stage: str, folder: Path) -> tuple[float, float]:
    """(seconds of CPU, MB at most) of one stage in `folder`."""
    code = (
        "import resource, runpy, sys; sys.argv = [sys.argv[1]]\n"
        f"try: runpy.run_module('scratchformer.stages.{stage}', run_name='__main__')\n"
        "finally:\n"
        "    own = resource.getrusage(resource.RUSAGE_SELF)\n"
        "    print('used', own.ru_utime + own.ru_stime, own.ru_maxrss / 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, stage], cwd=folder, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, check=False,
    )  # fmt: skip
    used = [line for line in done.stdout.splitlines() if line.startswith("used ")]
    if done.returncode or not used:
        raise SystemExit(f"{stage} failed: {done.stderr[-2000:]}")
    _, seconds, megabytes = used[-1].split()
    return float(seconds), float(megabytes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    arguments = parser.parse_args()
    print(machine_line("pyarrow", "tokenizers"))
    print("\n| rows | prepare | | tokenize | |\n|---:|---:|---:|---:|---:|")
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            write_pairs(folder, rows)
            write_params(folder)
            cells = []
            for stage in ("prepare", "tokenize"):
                seconds, megabytes = measured(stage, folder)
                cells.append(f"{seconds:,.1f} s | {megabytes:,.0f} MB")
            print(f"| {rows:,} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
