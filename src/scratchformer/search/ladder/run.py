"""Trains the ladder and says what ten times the compute should reach."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

from scratchformer.base.files import read_json, write_json
from scratchformer.base.layout import REPORTS, TRACKS
from scratchformer.base.terminal import Summary, say
from scratchformer.base.workspace import workspace_root
from scratchformer.params import Params, load_params
from scratchformer.search.ladder.compute import flops_of_training
from scratchformer.search.ladder.fit import CONFIDENCE, Interval, fit_law
from scratchformer.search.ladder.picture import ladder_figure
from scratchformer.search.ladder.sizes import Size, sizes_of
from scratchformer.search.runs.checkout import RESULT, fingerprint, make_folder, params_with
from scratchformer.search.runs.processes import run_folders
from scratchformer.search.study import SEARCHES
from scratchformer.visualization.plots.style import save

TIMES = 10
_TRACK = TRACKS["scratch"]


def ladder(seeds: int, workers: int) -> Summary:
    """Train every size with every seed, or go on where it was stopped; then fit and predict.

    Raises:
        ParamsError: the model cannot be made smaller in four steps.
        DataError: the rows are not there, or a training failed; the message names the log.
    """
    params, root = load_params(), workspace_root()
    sizes = sizes_of(params)
    place = root / SEARCHES / "ladder" / _digest(params, root)
    numbers = [params.run.seed + 1 + number for number in range(seeds)]
    folders = {
        size.width: [_folder(place, root, params, size, seed) for seed in numbers] for size in sizes
    }
    say(f"{len(sizes) * seeds} trainings: widths {', '.join(map(str, folders))}, {seeds} seeds")
    everything = [folder for some in folders.values() for folder in some]
    command = ["scratchformer.search.trial", "--track", _TRACK.name]
    run_folders(everything, workers, command, place / "trainings.log")
    steps = [_step(params, size, folders[size.width]) for size in sizes]
    return _write(steps, place)


def _digest(params: Params, root: Path) -> str:
    """One word for what decides the trainings: another recipe has other folders."""
    facts = {
        "params": params.model_dump(mode="json", include={"run", "train_scratch"}),
        "rows": fingerprint(root, _TRACK),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _folder(place: Path, root: Path, params: Params, size: Size, seed: int) -> Path:
    folder = place / f"width-{size.width}-seed-{seed}"
    make_folder(folder, root, _TRACK, params_with(params, size.values, root, seed))
    return folder


def _step(params: Params, size: Size, folders: Sequence[Path]) -> dict[str, Any]:
    """One size: its weights, its updates and compute, and the loss of each seed."""
    results = [read_json(folder / RESULT) for folder in folders]
    full = params_with(params, size.values, workspace_root())
    return {
        "width": size.width,
        "parameters": results[0]["parameters"],
        "updates": [result["steps"] for result in results],
        "compute": [flops_of_training(full, result["steps"]) for result in results],
        "loss": [float(result["valid"]["loss"]) for result in results],
        "changes": size.values,
    }


def _write(steps: Sequence[Mapping[str, Any]], place: Path) -> Summary:
    compute = [each for step in steps for each in step["compute"]]
    loss = [each for step in steps for each in step["loss"]]
    law = fit_law(compute, loss)
    target = TIMES * max(compute)
    predicted = law.at(target)
    # What the three smaller sizes alone would have said of the largest, which is known.
    last = len(steps[-1]["loss"])
    blind = fit_law(compute[:-last], loss[:-last]).at(mean(compute[-last:]))
    seen = mean(loss[-last:])
    report, folder = workspace_root() / REPORTS / "ladder/ladder.json", place / "figures"
    for path in (report.parent, folder):
        path.mkdir(parents=True, exist_ok=True)
    write_json(report, {
        "confidence": CONFIDENCE, "steps": steps, "floor": asdict(law.floor),
        "exponent": asdict(law.exponent),
        "prediction": {"times": TIMES, "compute": target, **asdict(predicted)},
        "held_out": {"seen": seen, **asdict(blind)},
    })  # fmt: skip
    picture, _, _ = save(ladder_figure(compute, loss, law, target), report.parent, "ladder")
    rows = [
        (f"width {step['width']}", f"loss {mean(step['loss']):.4f}, {step['parameters']:,} "
         f"weights, {mean(step['compute']):.2e} operations")
        for step in steps
    ]  # fmt: skip
    rows += [
        ("floor", _with_interval(law.floor)),
        ("exponent", _with_interval(law.exponent)),
        (f"{TIMES} times the compute", f"loss {_with_interval(predicted)}, if the law goes on"),
        ("check", f"the smaller three predict {_with_interval(blind)} for the largest; it is "
         f"{seen:.4g}"),
    ]  # fmt: skip
    held = blind.low <= seen <= blind.high
    warnings = [] if held else ["the law did not predict the largest size: do not trust it further"]
    return Summary("ladder, loss on the validation split", rows, [report, picture], warnings)


def _with_interval(found: Interval) -> str:
    return f"{found.value:.4g} [{found.low:.4g}, {found.high:.4g}]"
