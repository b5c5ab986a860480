"""Comparisons in which every arm has a learning rate of its own: `tuned.py [--at COMMIT]`.

docs/experiments/tuned.yaml has the arms and the tables. An arm is first trained with one seed at
several rates; the rate with the lowest validation loss is then trained with the other seeds, and
only these are in the tables: the seed that chose a rate flatters it. The runs are kept in
results.csv beside those of `experiments.py`.

A hundred short trainings would spend more time on starting than on training. So all run in one
process, by the function of the stage, in the code of the clone; without the gates, which change no
weight. Killed, the same command goes on with the next run (`--at` names the commit it began with);
`--clone` keeps the clone and the tokenized rows for the next time.
"""

import argparse
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, get_args

import yaml
from chapters import DOCS, ROOT
from experiments import (
    KEYS,
    MEASURES,
    Results,
    code_state,
    git,
    load_results,
    make_clone,
    save_results,
)

from scratchformer.base.errors import ScratchformerError
from scratchformer.base.files import read_json
from scratchformer.base.statistics import t_interval

TUNED = DOCS / "experiments" / "tuned.yaml"
RATE = "train_scratch.optimizer.learning_rate"
STEP = 2  # from one rate to the next
DIVERGED = {
    **dict.fromkeys(("valid_loss", "perplexity", "error_rate", "train_loss"), math.inf),
    **dict.fromkeys(("token_accuracy", "exact_match", "best_step", "parameters"), 0),
}


@dataclass(frozen=True)
class TunedArm:
    """One side of a comparison. `start` is the first rate that is tried."""

    name: str
    start: float
    settings: tuple[str, ...] = ()

    def key(self, rate: float, seed: int, code: str) -> tuple[str, ...]:
        """The key of one run in `load_results`."""
        settings = sorted((*self.settings, f"{RATE}={rate:g}"))
        return "train_scratch", " ".join(settings), str(seed), code


@dataclass(frozen=True)
class Comparison:
    """One table. The first arm is the one that the others are held against."""

    chapter: int
    arms: tuple[str, ...]


@dataclass(frozen=True)
class Tuned:
    """What tuned.yaml says: every arm once, and the tables by name."""

    tuning_seed: int
    seeds: tuple[int, ...]
    arms: dict[str, TunedArm]
    tables: dict[str, Comparison]


def load_tuned() -> Tuned:
    """Read tuned.yaml; raises TypeError or KeyError when it is not of this form."""
    content = yaml.safe_load(TUNED.read_text(encoding="utf-8"))
    arms = {
        name: TunedArm(name, arm["start"], tuple(arm.get("settings", ())))
        for name, arm in content["arms"].items()
    }
    tables = {
        name: Comparison(each["chapter"], tuple(each["arms"]))
        for name, each in content["tables"].items()
    }
    return Tuned(content["tuning_seed"], tuple(content["seeds"]), arms, tables)


def losses_of_rates(arm: TunedArm, seed: int, code: str, results: Results) -> dict[float, float]:
    """The validation loss at every rate that was tried, from the lowest rate to the highest."""
    around = [round_rate(arm.start * STEP**power) for power in range(-12, 13)]
    keys = {rate: arm.key(rate, seed, code) for rate in around}
    return {rate: float(results[key]["valid_loss"]) for rate, key in keys.items() if key in results}


def next_rate(start: float, losses: dict[float, float]) -> float | None:
    """The rate to try next; None when the best one has a worse one on either side."""
    if not losses:
        return round_rate(start)
    best = min(losses, key=lambda rate: losses[rate])
    for rate in (round_rate(best * STEP), round_rate(best / STEP)):
        if rate not in losses:
            return rate
    return None


def round_rate(rate: float) -> float:
    """Three digits, as a person would type it."""
    return float(f"{rate:.3g}")


def chosen_rate(arm: TunedArm, tuned: Tuned, code: str, results: Results) -> float | None:
    """The best rate of the tuning; None while that is not finished."""
    losses = losses_of_rates(arm, tuned.tuning_seed, code, results)
    if next_rate(arm.start, losses) is not None:
        return None
    return min(losses, key=lambda rate: losses[rate])


def measured(
    arm: TunedArm, tuned: Tuned, code: str, results: Results
) -> list[dict[str, str]] | None:
    """The runs of an arm at its rate, one a seed; None while one is missing."""
    rate = chosen_rate(arm, tuned, code, results)
    if rate is None:
        return None
    rows = [results.get(arm.key(rate, seed, code)) for seed in tuned.seeds]
    found = [row for row in rows if row is not None]
    return found if len(found) == len(rows) else None


def missing_runs(tuned: Tuned, code: str) -> Iterator[tuple[TunedArm, float, int]]:
    """Arm, rate and seed of the next run, arm by arm, as long as the caller adds results."""
    for arm in tuned.arms.values():
        while (rate := chosen_rate(arm, tuned, code, load_results())) is None:
            losses = losses_of_rates(arm, tuned.tuning_seed, code, load_results())
            following = next_rate(arm.start, losses)
            assert following is not None  # or a rate would have been chosen
            yield arm, following, tuned.tuning_seed
        for seed in tuned.seeds:
            if arm.key(rate, seed, code) not in load_results():
                yield arm, rate, seed


def tuned_code(tuned: Tuned, results: Results) -> str | None:
    """The newest state of the code under which the first arm was measured."""
    first = next(iter(tuned.arms.values()))
    codes = reversed(dict.fromkeys(key[-1] for key in results))
    return next((code for code in codes if measured(first, tuned, code, results)), None)


def tuned_table(comparison: Comparison, tuned: Tuned, results: Results) -> str:
    """The Markdown of one table: mean over the seeds, and what they differ by from the baseline."""
    names = comparison.arms
    code = tuned_code(tuned, results)
    found = {
        each: measured(tuned.arms[each], tuned, code, results) if code else None for each in names
    }
    base = found[names[0]]
    if code is None or base is None:
        return "Not measured yet: `python docs/tools/tuned.py`."
    lines = [
        "| | rate | validation loss | difference | error rate | difference | words right |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for each in names:
        rows = found[each]
        if rows is None:
            continue
        rate = chosen_rate(tuned.arms[each], tuned, code, results)
        loss, errors = (_cell(rows, measure) for measure in ("valid_loss", "error_rate"))
        paired = [
            "" if rows is base else _difference(rows, base, measure)
            for measure in ("valid_loss", "error_rate")
        ]
        right = f"{mean(float(row['exact_match']) for row in rows):.3f}"
        lines.append(
            f"| {each} | {rate:g} | {loss} | {paired[0]} | {errors} | {paired[1]} | {right} |"
        )
    seeds = ", ".join(map(str, tuned.seeds))
    lines.append(
        f"\nMean of {len(tuned.seeds)} seeds ({seeds}), in brackets the lowest and the highest; "
        "difference: from the first row with the same seed, mean and 95 % interval (t). The rate "
        f"is the best of seed {tuned.tuning_seed}, in steps of {STEP}, with a worse one on either "
        "side. Error rate: of the phonemes, in 512 words decoded greedily."
    )
    if left := [each for each in names if found[each] is None]:
        lines.append(f"\nNot measured: {'; '.join(left)}.")
    return "\n".join(lines)


def tuning_table(tuned: Tuned, results: Results) -> str:
    """Every rate that was tried, with the tuning seed, and the other seeds at the chosen one."""
    code = tuned_code(tuned, results)
    if code is None:
        return "Not measured yet: `python docs/tools/tuned.py`."
    lines = ["| | rates tried: validation loss | other seeds |", "|---|---|---:|"]
    for arm in tuned.arms.values():
        rows = measured(arm, tuned, code, results)
        if rows is None:
            continue
        losses = losses_of_rates(arm, tuned.tuning_seed, code, results)
        best = min(losses, key=lambda rate: losses[rate])
        tried = ", ".join(
            f"**{rate:g}: {loss:.3f}**" if rate == best else f"{rate:g}: {_number(loss, 3)}"
            for rate, loss in losses.items()
        )
        lines.append(f"| {arm.name} | {tried} | {_cell(rows, 'valid_loss')} |")
    return "\n".join(lines)


def _cell(rows: list[dict[str, str]], measure: str) -> str:
    values = [float(row[measure]) for row in rows]
    return f"{mean(values):.3f} ({min(values):.3f}–{max(values):.3f})"


def _difference(rows: list[dict[str, str]], base: list[dict[str, str]], measure: str) -> str:
    pairs = zip(rows, base, strict=True)
    differences = [float(row[measure]) - float(other[measure]) for row, other in pairs]
    low, high = t_interval(differences, 0.95)
    return f"{mean(differences):+.3f} [{low:+.3f}, {high:+.3f}]"


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "diverged"


def train_once(folder: Path, settings: tuple[str, ...], seed: int) -> dict[str, Any]:
    """Train in a folder that has the rows of this seed; the measures of the run.

    Of a training that diverged, the losses are infinite and no word is right.
    """
    from dvc.utils.hydra import apply_overrides

    from scratchformer.params import load_params
    from scratchformer.params.schema import GateName
    from scratchformer.stages.train_scratch import train_scratch
    from scratchformer.tracking import StageRun

    with chdir(folder):
        shutil.copy("lesson.yaml", "params.yaml")
        apply_overrides("params.yaml", [*settings, f"run.seed={seed}"])  # as dvc exp run -S does
        params = load_params()
        without = params.train_scratch.model_copy(update={"skip_gates": list(get_args(GateName))})
        before = time.process_time()
        try:
            train_scratch(params.model_copy(update={"train_scratch": without}), StageRun(None))
        except ScratchformerError as error:
            if "finite" not in str(error):
                raise
            spent = round(time.process_time() - before, 1)
            return {**DIVERGED, "cpu_seconds": spent}
        training = read_json(Path("models/scratch/training.json"))
        for made in ("models/scratch", "reports"):
            shutil.rmtree(made)
    return {
        **training,
        **training["valid"],
        "valid_loss": training["best_valid_loss"],
        "cpu_seconds": round(time.process_time() - before, 1),
    }


def make_rows(clone: Path, seed: int) -> Path:
    """A folder with the tokenized rows of this seed, made by the stages, and the lesson's
    parameters. One that stands is used again."""
    folder = clone.parent / f"rows-{seed}"
    if folder.exists():
        return folder
    text = git(clone, "show", "HEAD:params.yaml")
    lines = [f"  seed: {seed}" if line.startswith("  seed:") else line for line in text.split("\n")]
    (clone / "params.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for stage in ("prepare", "tokenize"):
        command = [sys.executable, "-m", f"scratchformer.stages.{stage}"]
        subprocess.run(command, cwd=clone, check=True, stdout=subprocess.DEVNULL)
    half = clone.parent / f"rows-{seed}-half"
    shutil.rmtree(half, ignore_errors=True)
    for path in ("data/tokenized/scratch", "models/tokenizers/scratch"):
        shutil.copytree(clone / path, half / path)
    (half / "data/tokenized/scratch/test.arrow").unlink()  # nothing is chosen by it
    (half / "lesson.yaml").write_text(text + "\n", encoding="utf-8")
    half.rename(folder)
    return folder


def measure_all(clone: Path) -> None:
    """Make the missing runs, in this process."""
    from scratchformer.stages.runner import set_threads

    set_threads(1)
    tuned, code = load_tuned(), code_state(clone)
    commit = git(clone, "rev-parse", "--short", "HEAD~1")
    for arm, rate, seed in missing_runs(tuned, code):
        key = arm.key(rate, seed, code)
        print(time.strftime("%H:%M:%S"), arm.name, f"rate {rate:g}", f"seed {seed}", flush=True)
        values = train_once(make_rows(clone, seed), (*arm.settings, f"{RATE}={rate:g}"), seed)
        measures = {measure: values[measure] for measure in MEASURES}
        row = {**dict(zip(KEYS, key, strict=True)), "commit": commit, **measures}
        save_results({**load_results(), key: row})


def main(folder: Path, commit: str) -> None:
    """The trainings run in a second process, because this one has imported code of its own."""
    clone = folder / "clone"
    if not clone.exists():
        make_clone(folder, commit)
    environment = {**os.environ, "PYTHONPATH": str(clone / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--measure-in", str(clone)]
    subprocess.run(command, env=environment, check=True, cwd=ROOT)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the runs that are missing.")
    parser.add_argument("--at", default="HEAD", metavar="COMMIT", help="the code to run")
    parser.add_argument("--clone", type=Path, metavar="FOLDER", help="keep the clone there")
    parser.add_argument("--measure-in", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure_in:
        measure_all(arguments.measure_in)
    elif arguments.clone:
        arguments.clone.mkdir(parents=True, exist_ok=True)
        main(arguments.clone.resolve(), arguments.at)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary), arguments.at)
