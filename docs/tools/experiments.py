"""The runs behind the chapters' measurements: `experiments.py [--at COMMIT] [NN …]`.

docs/experiments/NN.yaml says what is compared, docs/experiments/results.csv holds every run that
was made, each once, whichever chapters use it. This script makes the runs that are missing: in a
clone of the last commit, with the preset `lesson`, by the very command that the chapter gives.
Runs are compared only if the training code and the parameters under them were the same; `--at`
goes back to an earlier commit to add runs to those that were made there.
`python docs/tools/refresh.py` then writes the tables into the chapters.
"""

import argparse
import csv
import hashlib
import itertools
import os
import shlex
import statistics
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from chapters import DOCS, ROOT, chapters

from scratchformer.base.files import read_json, write_whole
from scratchformer.params.presets import apply_preset

RESULTS = DOCS / "experiments" / "results.csv"
MEASURES = {
    "valid_loss": ("validation loss", 3),
    "perplexity": ("perplexity", 2),
    "token_accuracy": ("tokens right", 3),
    "exact_match": ("words right", 3),
    "error_rate": ("error rate", 3),
    "train_loss": ("training loss", 3),
    "best_step": ("best step", 0),
    "parameters": ("parameters", 0),
    "cpu_seconds": ("CPU seconds", 0),
}
KEYS = ("target", "settings", "seed", "code")
COLUMNS = (*KEYS, "commit", *MEASURES)
# What decides the outcome of a run besides its settings: parameters, and the code of these stages.
STAGES = ("prepare", "tokenize", "train_scratch")


Results = dict[tuple[str, ...], dict[str, str]]


@dataclass(frozen=True)
class Arm:
    """One side of a comparison: a name, and what it sets on top of the preset `lesson`."""

    name: str
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Experiment:
    """What one chapter compares. The first arm is the one that the others are held against."""

    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    measures: tuple[str, ...]
    target: str = "train_scratch"


def load_experiment(path: Path) -> Experiment:
    """Read docs/experiments/NN.yaml; raises TypeError or KeyError when it is not of this form."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    arms = tuple(Arm(name, tuple(settings)) for name, settings in content.pop("arms").items())
    seeds, measures = tuple(content.pop("seeds")), tuple(content.pop("measures"))
    return Experiment(arms, seeds, measures, **content)


def load_results() -> Results:
    """Every run that was made, by (target, settings, seed, code), in the order they were made."""
    with RESULTS.open(encoding="utf-8", newline="") as file:
        return {tuple(row[key] for key in KEYS): row for row in csv.DictReader(file)}


def run_key(experiment: Experiment, arm: Arm, seed: int, code: str) -> tuple[str, ...]:
    """The key of one run in `load_results`."""
    return experiment.target, " ".join(sorted(arm.settings)), str(seed), code


def complete_code(experiment: Experiment, results: Results) -> str | None:
    """The newest state of the code under which every run of the experiment was made."""
    for code in reversed(dict.fromkeys(key[-1] for key in results)):
        runs = itertools.product(experiment.arms, experiment.seeds)
        if all(run_key(experiment, arm, seed, code) in results for arm, seed in runs):
            return code
    return None


def command(experiment: Experiment, arm: Arm, seed: int) -> list[str]:
    """What a reader types."""
    settings = [word for setting in (*arm.settings, f"run.seed={seed}") for word in ("-S", setting)]
    return ["dvc", "exp", "run", *settings, experiment.target]


def table(experiment: Experiment, results: Results) -> str:
    """The measurements as Markdown: mean over the seeds, and the lowest and highest of them.

    Raises LookupError when a run is missing.
    """
    code = complete_code(experiment, results)
    if code is None:
        raise LookupError(f"runs are missing of {[arm.name for arm in experiment.arms]}")
    heads = [MEASURES[measure][0] for measure in experiment.measures]
    lines = [f"| | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    for arm in experiment.arms:
        rows = [results[run_key(experiment, arm, seed, code)] for seed in experiment.seeds]
        cells = [_cell(rows, measure) for measure in experiment.measures]
        lines.append(f"| {arm.name} | {' | '.join(cells)} |")
    n = len(experiment.seeds)
    seeds = ", ".join(map(str, experiment.seeds))
    several = f"Mean of {n} seeds ({seeds}); in brackets the lowest and the highest."
    note = several if n > 1 else f"One seed ({seeds})."
    lines.append(f"\n{note}")
    return "\n".join(lines)


def _cell(rows: list[dict[str, str]], measure: str) -> str:
    digits = MEASURES[measure][1]
    values = [float(row[measure]) for row in rows]
    numbers = statistics.mean(values), min(values), max(values)
    mean, low, high = (f"{number:.{digits}f}" for number in numbers)
    return mean if low == high else f"{mean} ({low}–{high})"


def measure_run(
    experiment: Experiment, arm: Arm, seed: int, clone: Path, code: str
) -> dict[str, Any]:
    """Run the command in the clone and read what it left. Raises CalledProcessError."""
    words = command(experiment, arm, seed)
    print(shlex.join(words), flush=True)
    environment = {**os.environ, "PYTHONPATH": str(clone / "src")}
    git(clone, "restore", "params.yaml")  # an experiment leaves its settings behind

    def run(*command: str) -> None:
        subprocess.run(command, cwd=clone, env=environment, check=True, stdout=subprocess.DEVNULL)

    run(*words[:-1], "tokenize")  # the time that counts is that of the training
    before = os.times()
    run(*words)
    spent = os.times().children_user - before.children_user
    training = read_json(clone / "models/scratch/training.json")
    values = {**training, **training["valid"], "cpu_seconds": round(spent, 1)}
    values["valid_loss"] = training["best_valid_loss"]
    key = dict(zip(KEYS, run_key(experiment, arm, seed, code), strict=True))
    commit = git(clone, "rev-parse", "--short", "HEAD~1")
    return {**key, "commit": commit, **{measure: values[measure] for measure in MEASURES}}


def make_clone(folder: Path, commit: str) -> Path:
    """A clone at `commit`, the preset `lesson` committed on top: what experiments start from.

    Runs are not mirrored to MLflow here; that changes none of their bytes.
    """
    clone = folder / "clone"
    git(ROOT, "clone", "--quiet", str(ROOT), str(clone))
    git(clone, "checkout", "--quiet", "--detach", commit)
    apply_preset("lesson", clone / "params.yaml", clone / "presets")
    params = clone / "params.yaml"
    text = params.read_text(encoding="utf-8").replace("enabled: true", "enabled: false")
    params.write_text(text, encoding="utf-8")
    git(clone, "config", "user.name", "docs")
    git(clone, "config", "user.email", "docs@localhost")
    # Without it DVC asks the clone's empty cache for what other stages once made.
    git(clone, "rm", "--quiet", "dvc.lock")
    git(clone, "commit", "--quiet", "--all", "--message", "Apply the preset lesson")
    return clone


def code_state(clone: Path) -> str:
    """A digest of what decides the outcome of a run, as it is committed in the clone: the code that
    dvc.yaml names, and the parameters."""
    stages = yaml.safe_load(git(clone, "show", "HEAD:dvc.yaml"))["stages"]
    code = {path for stage in STAGES for path in stages[stage]["deps"] if path.startswith("src/")}
    listing = git(clone, "ls-tree", "-r", "HEAD", "--", "params.yaml", *sorted(code))
    return hashlib.sha256(listing.encode()).hexdigest()[:8]


def git(folder: Path, *words: str) -> str:
    """What Git prints. Raises CalledProcessError."""
    done = subprocess.run(
        ["git", *words], cwd=folder, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.strip()


def save_results(results: dict[tuple[str, ...], dict[str, Any]]) -> None:
    """Write the table of runs in the order they were made."""
    with write_whole(RESULTS) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(results.values())


def main(numbers: list[str], commit: str) -> None:
    """Seed by seed, so that the data of each is prepared once."""
    experiments = [
        load_experiment(chapter.experiment)
        for chapter in chapters()
        if not numbers or f"{chapter.number:02}" in numbers
    ]
    runs = [
        (seed, experiment, arm)
        for experiment in experiments
        for arm in experiment.arms
        for seed in experiment.seeds
    ]
    with tempfile.TemporaryDirectory() as folder:
        clone = make_clone(Path(folder), commit)
        code = code_state(clone)
        for seed, experiment, arm in sorted(runs, key=lambda run: run[0]):
            key = run_key(experiment, arm, seed, code)
            if key not in load_results():
                row = measure_run(experiment, arm, seed, clone, code)
                save_results({**load_results(), key: row})  # two of us may be measuring


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the runs that are missing.")
    parser.add_argument("numbers", nargs="*", metavar="NN", help="chapters; all without")
    parser.add_argument("--at", default="HEAD", metavar="COMMIT", help="the code to run")
    arguments = parser.parse_args()
    main(arguments.numbers, arguments.at)
