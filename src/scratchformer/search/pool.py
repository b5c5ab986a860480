"""Several processes at one search, and the table that a person watches."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.live import Live
from rich.markup import escape
from rich.table import Table

from scratchformer.base.errors import DataError
from scratchformer.base.terminal import Summary, say
from scratchformer.params import load_params
from scratchformer.search.confirmation import (
    check_preset,
    compare,
    plan,
    write_results,
)
from scratchformer.search.report.page import row_of, write_page
from scratchformer.search.runs.processes import run_folders, run_processes
from scratchformer.search.space import Space, load_space
from scratchformer.search.study import budget, folder_of, import_optuna, open_study
from scratchformer.search.trial import NOTHING_LEFT
from scratchformer.search.watching import Watcher

_TRIAL = "scratchformer.search.trial"
_ROWS = 15  # of the live table


def search(path: Path, workers: int) -> Summary:
    """Run a search to its end, or go on with one that was stopped; then confirm its best.

    Raises:
        ParamsError: the space does not fit params.yaml, or no trial was completed.
        DataError: trainings of the confirmation failed; the message names their log.
    """
    import_optuna()
    params = load_params()
    space = load_space(path, params)
    check_preset(space)
    study = open_study(space, params)  # refuses before a process is started
    watcher = Watcher(space, params.tracking.enabled)
    with _shown(space, study, watcher) as look:
        _run_trials(path, space, workers, look)
    settings = plan(space, params, open_study(space, params))
    folders = [folder for setting in settings for folder in setting.folders]
    say(f"training the best again: {len(folders)} trainings with fresh seeds")
    command = [_TRIAL, "--track", space.track.name]
    run_folders(folders, workers, command, _log(space))
    summary = write_results(space, compare(space, settings))
    summary.outputs.append(write_page(space))
    watcher.finish()
    return summary


def report(path: Path) -> Path:
    """Write the page of a search that runs, was stopped or has ended.

    Raises:
        DataError: no trial has ended.
    """
    import_optuna()
    return write_page(load_space(path, load_params()))


def _run_trials(path: Path, space: Space, workers: int, look: Callable[[], None]) -> None:
    """Start a process for each trial, `workers` at a time, until none finds anything to do."""
    deaths, done = 0, False

    def next_command() -> Sequence[str] | None:
        return None if done else [_TRIAL, str(path)]

    def on_exit(code: int) -> None:
        nonlocal deaths, done
        # One that died left a trial behind that the next process takes up.
        deaths += code not in (0, NOTHING_LEFT)
        if deaths > 3 * budget(space):
            raise DataError(f"too many trials died; see {_log(space)}")
        done = code == NOTHING_LEFT

    run_processes(next_command, workers, _log(space), on_exit, look)


def _log(space: Space) -> Path:
    return folder_of(space) / "trials.log"


@contextmanager
def _shown(space: Space, study: Any, watcher: Watcher) -> Iterator[Callable[[], None]]:
    """What to call now and then: a live table in a terminal, a line for each end elsewhere; what
    has ended is shown in MLflow too."""
    with ExitStack() as stack:
        live: Live | None = None
        if sys.stdout.isatty():
            live = stack.enter_context(Live(_table(space, study), auto_refresh=False))
        seen: set[int] = set()

        def look() -> None:
            trials = study.get_trials(deepcopy=False)
            new = [each for each in trials if each.state.is_finished() and each.number not in seen]
            if live is not None:
                live.update(_table(space, study), refresh=True)
            for trial in new:
                seen.add(trial.number)
                if live is None:
                    say(" ".join(row_of(trial)).rstrip())
            watcher.look(len(seen))

        yield look


def _table(space: Space, study: Any) -> Table:
    trials = study.get_trials(deepcopy=False)
    ended = sum(trial.state.is_finished() for trial in trials)
    table = Table(title=f"{space.name}: {ended} of {budget(space)} trials", title_justify="left")
    for title in ("trial", "state", space.measure, "settings"):
        table.add_column(title)
    for trial in trials[-_ROWS:]:
        table.add_row(*map(escape, row_of(trial)[:4]))  # the page says why each ended
    return table
