"""One trial: claimed, trained, reported. Each runs in a process of its own.

    python -m scratchformer.search.trial SPACE.yaml                the next trial of the search
    python -m scratchformer.search.trial --track TRACK FOLDER      the training in FOLDER

A trial belongs to the process that holds the lock of its folder. The operating system ends a lock
with its process, however that dies, so a running trial whose lock is free has lost its process: the
next one takes it up under its old number, from its checkpoint. It can be neither lost nor counted
twice.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from scratchformer.base.errors import Interrupted, ParamsError, ScratchformerError
from scratchformer.base.layout import TRACKS, Track
from scratchformer.base.measures import MEASURES
from scratchformer.base.terminal import say
from scratchformer.base.workspace import workspace_root
from scratchformer.params import Params, load_params
from scratchformer.search.runs.checkout import make_folder, params_with, train_in
from scratchformer.search.runs.inputs import inputs_root
from scratchformer.search.space import Space, load_space
from scratchformer.search.study import budget, folder_of, open_study

NOTHING_LEFT = 9
"""Exit code of a process that found no trial to run."""
_STARTS = 3  # a trial whose process died so often is given up


class Pruned(Exception):
    """The trial is not worth going on with."""


def run_next(space: Space, params: Params) -> bool:
    """Run the next trial to its end; False if there is none to run."""
    claimed = _claim(space, params)
    if claimed is None:
        return False
    trial, lock = claimed
    try:
        _run(space, params, trial)
    finally:
        lock.release()
    return True


def _claim(space: Space, params: Params) -> tuple[Any, FileLock] | None:
    """A trial whose process died, or else a new one, and the lock that makes it ours."""
    from optuna.trial import Trial, TrialState

    folder = folder_of(space)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "claim.lock"):
        study = open_study(space, params)
        trials = study.get_trials(deepcopy=False)
        for known in trials:
            if known.state != TrialState.RUNNING:
                continue
            lock = FileLock(_lock_of(space, known.number), timeout=0)
            try:
                lock.acquire()
            except Timeout:
                continue
            trial = Trial(study, known._trial_id)
            starts = known.user_attrs.get("starts", 1)
            if starts >= _STARTS:
                _end(study, known.number, "FAIL", f"its process died {starts} times")
                lock.release()
                continue
            trial.set_user_attr("starts", starts + 1)
            return trial, lock
        waiting = any(known.state == TrialState.WAITING for known in trials)
        asked = sum(known.state != TrialState.WAITING for known in trials)
        if asked >= budget(space) or (space.sampler == "grid" and not waiting):
            return None
        trial = study.ask()
        lock = FileLock(_lock_of(space, trial.number), timeout=0)
        lock.acquire()
        return trial, lock


def folder_of_trial(space: Space, number: int) -> Path:
    return folder_of(space) / "trials" / f"{number:05}"


def _lock_of(space: Space, number: int) -> Path:
    folder = folder_of_trial(space, number)
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder.with_suffix(".lock")


def _run(space: Space, params: Params, trial: Any) -> None:
    study, folder = trial.study, folder_of_trial(space, trial.number)
    values = space.choose(trial)
    say(f"trial {trial.number}: {values}")
    reported = len(study.get_trials(deepcopy=False)[trial.number].intermediate_values)
    planned = 0

    def on_validation(step: int, found: Mapping[str, float]) -> None:
        nonlocal reported
        done = _validations(folder)
        if done < reported:
            return  # a resumed training repeats what was reported before its process died
        value = _value(space, found)
        if done > reported:
            reported = done
            trial.report(value, done)
        if done < planned and trial.should_prune():  # at the last one nothing is saved
            raise Pruned(
                f"after validation {done} (update {step}): {space.measure} {value:.4g} is not in "
                f"the best 1/{space.halving} of the trials that came so far"
            )

    try:
        full = params_with(params, values, workspace_root(), params.run.seed)
        planned = _planned_validations(full, space.track)
        root = inputs_root(space, params, values, folder_of(space) / "inputs")
        make_folder(folder, root, space.track, full)
        result = train_in(folder, space.track, on_validation)
        value = _value(space, result["valid"])
    except Pruned as reason:
        _end(study, trial.number, "PRUNED", str(reason))
    except Interrupted:
        raise  # it stays a running trial: the next process takes it up
    except Exception as error:
        _end(study, trial.number, "FAIL", f"{type(error).__name__}: {error}")
        if not isinstance(error, ScratchformerError):
            raise
    else:
        for name in ("best_step", "weights"):
            trial.set_user_attr(name, result[name])
        study.tell(trial.number, value)
        say(f"trial {trial.number}: {space.measure} {value:.6g}")


def _planned_validations(params: Params, track: Track) -> int:
    """How many a training has that is not stopped early: one an epoch, or as params.yaml says."""
    scratch = params.train_scratch
    planned = {
        "train_scratch": -(-scratch.max_steps // scratch.validate_every),
        "finetune": params.finetune.epochs,
    }
    return planned[track.stage]


def _validations(folder: Path) -> int:
    """How many rows the validation curve has; a resumed training cuts it to its checkpoint."""
    curves = folder.glob(".checkpoints/*/*/history/valid.csv")
    newest = max(curves, key=lambda path: path.stat().st_mtime)
    return len(newest.read_text(encoding="utf-8").splitlines()) - 1


def _value(space: Space, found: Mapping[str, float]) -> float:
    if space.measure not in found:
        raise ParamsError(
            f"measure: {space.stage} has no {space.measure} on the validation split; it has "
            f"{', '.join(sorted(set(found) & set(MEASURES)))}"
        )
    return float(found[space.measure])


def _end(study: Any, number: int, state: str, reason: str) -> None:
    """End a trial without a value, and say why."""
    from optuna.trial import TrialState

    (trial,) = (each for each in study.get_trials(deepcopy=False) if each.number == number)
    study._storage.set_trial_user_attr(trial._trial_id, "reason", reason)
    study.tell(number, state=TrialState[state])
    say(f"trial {number}: {'stopped' if state == 'PRUNED' else 'failed'} {reason}")


def main(arguments: list[str]) -> int:
    """Run one trial, or the training in a folder; the exit code says what was done."""
    try:
        if len(arguments) == 1:
            params = load_params()
            return 0 if run_next(load_space(Path(arguments[0]), params), params) else NOTHING_LEFT
        track = next(each for each in TRACKS.values() if each.name == arguments[1])
        folder = Path(arguments[2]).resolve()
        with FileLock(folder.with_suffix(".lock"), timeout=0):
            train_in(folder, track, lambda step, found: None)
    except Timeout:  # another process trains here
        return NOTHING_LEFT
    except ScratchformerError as error:
        print(f"search: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
