"""A search in MLflow: one run for the search, below it one for each trial that has ended.

    python -m scratchformer.search.mirror NAME PROCESS

The journal is the record and MLflow a view on it: this reads the study and adds what MLflow lacks,
so that it can be called again and again, and after the store was deleted. It is a process of its
own, as MLflow's imports take seconds; a failure is one line on its standard output, and the search
goes on.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scratchformer.base.files import read_json
from scratchformer.base.mappings import curve_name
from scratchformer.base.workspace import workspace_root
from scratchformer.params import load_params
from scratchformer.search.space import Space
from scratchformer.search.study import REPORT, SEARCHES, SPACE, folder_of, load_study
from scratchformer.tracking.execution import ProcessId
from scratchformer.tracking.mirror.parent import PARENT_ID
from scratchformer.tracking.mirror.store import Store, process_tags

_KIND, _SEARCH, _TRIAL = (f"scratchformer.{name}" for name in ("kind", "search", "trial"))
_NOTE = "mlflow.note.content"


def mirror_searches(root: Path, experiment: str) -> int:
    """Add what MLflow lacks of every search of a checkout; returns how many runs were made."""
    files = sorted((root / SEARCHES).glob(f"*/{SPACE}"))
    if not files:
        return 0
    store = Store(root, experiment)
    return sum(mirror(store, Space.model_validate(read_json(file))) for file in files)


def mirror(store: Store, space: Space, process: ProcessId | None = None) -> int:
    """Add the trials that have ended since the last call; returns how many runs were made.

    Args:
        process: the search that still runs; None: none does.
    """
    trials = load_study(space).get_trials(deepcopy=False)
    if not trials or trials[0].datetime_start is None:
        return 0
    # One that was removed and begun anew under the same name is another search.
    tags = {_KIND: "search", _SEARCH: space.name,
            "scratchformer.begun": trials[0].datetime_start.isoformat()}  # fmt: skip
    with store.lock:
        found = store.search(tags=tags)
        parent = found[0].info.run_id if found else _create(store, space, tags, trials[0])
        known = {run.data.tags[_TRIAL] for run in store.search(tags={PARENT_ID: parent})}
        ended = [each for each in trials if each.state.is_finished()]
        new = [each for each in ended if str(each.number) not in known]
        for trial in new:
            _add(store, parent, space, trial)
        _refresh(store, parent, space, ended, process)
    return len(new) + (not found)


def _create(store: Store, space: Space, tags: Mapping[str, str], first: Any) -> str:
    run_id = store.create_run(f"search {space.name}", tags, first.datetime_start.timestamp())
    settings = space.model_dump(include={"stage", "measure", "sampler", "halving", "seed"})
    searched = {k: v.model_dump(exclude_defaults=True) for k, v in space.space.items()}
    store.log_params(run_id, settings | searched)
    return run_id


def _add(store: Store, parent: str, space: Space, trial: Any) -> None:
    """One trial: its values, the curve of what it reported, how it ended and why."""
    state = trial.state.name.lower()
    tags = {
        PARENT_ID: parent, _KIND: "trial", _SEARCH: space.name, _TRIAL: str(trial.number),
        "state": state, "starts": str(trial.user_attrs.get("starts", 1)),
    }  # fmt: skip
    if "reason" in trial.user_attrs:
        tags |= {"reason": trial.user_attrs["reason"], _NOTE: trial.user_attrs["reason"]}
    start = trial.datetime_start.timestamp() if trial.datetime_start else time.time()
    run_id = store.create_run(f"trial {trial.number}", tags, start)
    store.log_params(run_id, trial.params)
    end = int(trial.datetime_complete.timestamp() * 1000)
    name = curve_name("valid", space.measure)
    points = [(name, value, step, end) for step, value in trial.intermediate_values.items()]
    if trial.state.name == "COMPLETE":
        points.append((space.measure, trial.value, 0, end))
    store.log_points(run_id, points)
    store.client.set_terminated(run_id, "FAILED" if state == "fail" else "FINISHED", end)


def _refresh(
    store: Store, parent: str, space: Space, ended: list[Any], process: ProcessId | None
) -> None:
    """What the search as a whole has found so far; FINISHED when its report is there."""
    states = Counter(trial.state.name.lower() for trial in ended)
    figures = {f"trials.{state}": float(count) for state, count in states.items()}
    values = [trial.value for trial in ended if trial.state.name == "COMPLETE"]
    if values:
        best = max if space.scored_by.higher_is_better else min
        figures[f"best.{space.measure}"] = best(values)
    report = folder_of(space) / REPORT
    if report.is_file():
        results = read_json(report)
        winner = results["settings"][1]
        figures[f"confirmed.{space.measure}"] = winner["mean"]
        figures[f"difference.{space.measure}"] = winner["difference"]
        store.log_tags(parent, {"verdict": results["verdict"], _NOTE: results["verdict"]})
        store.log_files(parent, report)
    there, at = store.client.get_run(parent).data.metrics, int(time.time() * 1000)
    changed = {key: value for key, value in figures.items() if there.get(key) != value}
    store.log_points(parent, [(key, value, len(ended), at) for key, value in changed.items()])
    if process is not None:
        store.log_tags(parent, process_tags(process))
    running = "RUNNING" if process else "KILLED"
    store.set_status(parent, "FINISHED" if report.is_file() else running)


def main(name: str, process: str) -> int:
    """Mirror the search `name` of the checkout in the current folder, which `process` runs."""
    report, sys.stdout = sys.stdout, sys.stderr
    try:
        root = workspace_root()
        space = Space.model_validate(read_json(root / SEARCHES / name / SPACE))
        store = Store(root, load_params().tracking.experiment)
        mirror(store, space, ProcessId(**json.loads(process)))
    except Exception as error:  # noqa: BLE001 - the view must never stop the record, whatever broke
        reason = " ".join(str(error).split()) or type(error).__name__
        print(f"MLflow does not show search {name}: {reason[:300]}", file=report, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
