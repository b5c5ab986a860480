"""The pipeline under several seeds: how far the numbers move when only chance changes.

A bootstrap interval says what other test rows would do to a number; it says nothing of another
seed, which draws other splits, other first weights and another order. `run_seeds` makes one DVC
experiment for each seed, in copies of the workspace, so that what is there stays as it is; DVC
keeps them as `seed-N` beside all other experiments (`dvc exp show`).
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.base.layout import METRICS
from scratchformer.base.mappings import flatten
from scratchformer.base.measures import MEASURES
from scratchformer.base.statistics import t_interval


def run_seeds(seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Run one experiment a seed; metrics.json of each, in the order of `seeds`.

    Raises:
        ParamsError: fewer than two different seeds.
        DataError: metrics.json is not in Git, or an experiment failed; those before it are kept.
    """
    if len(set(seeds)) != len(seeds) or len(seeds) < 2:
        raise ParamsError("seeds: expected two or more different numbers, e.g. 1 2 3")
    listed = ["git", "ls-files", "--error-unmatch", METRICS.as_posix()]
    if subprocess.run(listed, capture_output=True, check=False).returncode:
        raise DataError(
            f"{METRICS}: not in Git, so experiments would not keep it; run dvc repro and commit it"
        )
    results = []
    for seed in seeds:
        name = f"seed-{seed}"
        command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--force", "--name", name,
                   "--set-param", f"run.seed={seed}"]  # fmt: skip
        if code := subprocess.run(command, check=False).returncode:
            raise DataError(f"seed {seed}: dvc exp run ended with code {code}; see above")
        results.append(_metrics_of(name))
    return results


def _metrics_of(experiment: str) -> dict[str, Any]:
    from dvc.api import metrics_show

    metrics: dict[str, Any] = metrics_show(rev=experiment)
    return metrics


def summarise(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One record for each measure that all results have: its name, values, mean, the sample
    standard deviation (n - 1 in the denominator), and its 95% interval by Student's t."""
    tables = [dict(_measured(result)) for result in results]
    n = len(tables)
    records = []
    for name in tables[0]:
        if not all(name in table for table in tables):
            continue
        values = [table[name] for table in tables]
        low, high = t_interval(values, 0.95)
        records.append(
            {"measure": name, "n": n, "mean": mean(values), "deviation": stdev(values),
             "low": low, "high": high, "values": values}
        )  # fmt: skip
    return records


def _measured(result: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """`finetune.after.accuracy` → value, for every measure of every system on both splits, and
    `finetune.delta.accuracy` for what fine-tuning changed; no intervals, tests and counts."""
    for name, value in flatten(result):
        *place, key = name.split(".")
        if "intervals" in place or "against" in place:
            continue
        if key in MEASURES:
            yield name, float(value)
        elif key == "value" and place[-1] in MEASURES:
            yield ".".join(place), float(value)
