"""The best settings trained again with fresh seeds, and what that shows.

The best of many noisy numbers is too good: it was chosen because its noise was lucky (the winner's
curse). So the best settings, and params.yaml as it is, are trained again with seeds that the search
did not see, and what counts is the mean of these. A setting is *shown to be better* only if the
interval of its paired differences to params.yaml, seed by seed, is on the better side of zero. As
several settings get this chance, each interval is wider (Bonferroni): the probability that any of
them is called better by luck alone stays at 5 %.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from scratchformer.base.errors import ParamsError
from scratchformer.base.files import read_json, write_json, write_whole
from scratchformer.base.statistics import t_interval
from scratchformer.base.terminal import Summary
from scratchformer.base.workspace import workspace_root
from scratchformer.params import Params
from scratchformer.params.presets import PRESETS
from scratchformer.search.runs.checkout import RESULT, make_folder, params_with
from scratchformer.search.runs.inputs import inputs_root
from scratchformer.search.space import Space, Values
from scratchformer.search.study import REPORT, folder_of

CONFIDENCE = 0.95
_BASE = "params.yaml"
_HEAD = "# Found by `scratchformer search`"


@dataclass(frozen=True)
class Setting:
    """A setting that is trained again.

    Attributes:
        name: `params.yaml`, or `trial 7`.
        values: what it changes in params.yaml.
        found: its value in the search; None of params.yaml, which was not in it.
        folders: where it is trained, one a seed, in the order of the seeds.
    """

    name: str
    values: Values
    found: float | None
    folders: list[Path]


@dataclass(frozen=True)
class Confirmed:
    """What the trainings of a setting gave.

    Attributes:
        found: the optimistic value of the search.
        again: the values with fresh seeds, their `mean` and its interval.
        difference: mean of (this - params.yaml), paired by seed; None of params.yaml itself.
        better: the interval of the difference is on the better side of zero.
    """

    name: str
    values: Values
    found: float | None
    again: list[float]
    mean: float
    low: float
    high: float
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    better: bool = field(default=False)


def plan(space: Space, params: Params, study: Any) -> list[Setting]:
    """params.yaml as it is, and the best trials; their folders are ready.

    Raises:
        ParamsError: no trial was completed.
    """
    from optuna.trial import TrialState

    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not done:
        raise ParamsError(
            f"search {space.name!r}: no trial was completed; the table says why each ended"
        )
    sign = -1 if space.scored_by.higher_is_better else 1
    best: dict[str, Any] = {}
    for trial in sorted(done, key=lambda trial: (sign * trial.value, trial.number)):
        best.setdefault(str(sorted(trial.params.items())), trial)  # equal settings count once
    some = list(best.values())[: space.confirmation.best]
    seeds = [params.run.seed + 1 + place for place in range(space.confirmation.seeds)]
    root = folder_of(space) / "confirmation"
    settings = [(_BASE, {}, None, "base"), *(
        (f"trial {trial.number}", trial.params, trial.value, f"{trial.number:05}") for trial in some
    )]  # fmt: skip
    planned = []
    for name, values, found, short in settings:
        folders = []
        inputs = inputs_root(space, params, values, folder_of(space) / "inputs")
        for seed in seeds:
            folder = root / f"{short}-seed-{seed}"
            full = params_with(params, values, workspace_root(), seed)
            make_folder(folder, inputs, space.track, full)
            folders.append(folder)
        planned.append(Setting(name, dict(values), found, folders))
    return planned


def compare(space: Space, settings: list[Setting]) -> list[Confirmed]:
    """Means, intervals and paired differences; params.yaml first, then the best mean first."""
    again = {
        setting.name: [
            float(read_json(folder / RESULT)["valid"][space.measure]) for folder in setting.folders
        ]
        for setting in settings
    }
    base, *others = settings
    higher = space.scored_by.higher_is_better
    confirmed = []
    for setting in others:
        values = again[setting.name]
        differences = [a - b for a, b in zip(values, again[base.name], strict=True)]
        low, high = t_interval(differences, 1 - (1 - CONFIDENCE) / len(others))
        confirmed.append(Confirmed(
            setting.name, setting.values, setting.found, values, mean(values),
            *t_interval(values, CONFIDENCE), mean(differences), low, high,
            better=low > 0 if higher else high < 0,
        ))  # fmt: skip
    confirmed.sort(key=lambda each: -each.mean if higher else each.mean)
    values = again[base.name]
    first = Confirmed(base.name, {}, None, values, mean(values), *t_interval(values, CONFIDENCE))
    return [first, *confirmed]


def verdict(space: Space, confirmed: list[Confirmed]) -> str:
    """What the comparison says about the setting with the best mean."""
    winner = confirmed[1]
    assert winner.difference is not None
    ends = f"[{winner.difference_low:+.4g}, {winner.difference_high:+.4g}]"
    difference = f"{space.measure} {winner.difference:+.4g} {ends} against params.yaml"
    if winner.better:
        return f"{winner.name} is better than params.yaml: {difference}"
    return f"{winner.name} is not shown to be better than params.yaml: {difference}"


def check_preset(space: Space) -> Path:
    """Where the winner is written.

    Raises:
        ParamsError: a preset of that name is there, and no search wrote it.
    """
    path = workspace_root() / PRESETS / f"{space.name}.yaml"
    if path.is_file() and not path.read_text(encoding="utf-8").startswith(_HEAD):
        raise ParamsError(f"{path} exists already; give the search another name")
    return path


def write_results(space: Space, confirmed: list[Confirmed]) -> Summary:
    """report.json, the preset of the winner, and the table for the terminal."""
    report, preset, winner = folder_of(space) / REPORT, check_preset(space), confirmed[1]
    result = verdict(space, confirmed)
    write_json(report, {
        "measure": space.measure, "verdict": result, "confidence": CONFIDENCE,
        "settings": [asdict(each) for each in confirmed],
    })  # fmt: skip
    with write_whole(preset) as temporary:
        temporary.write_text(f"{_HEAD}: {result}\n\n{_yaml(winner.values)}", encoding="utf-8")
    rows = [(each.name, _score(each)) for each in confirmed]
    applied = f"apply it with: scratchformer preset {space.name}; then dvc repro"
    return Summary(
        f"search {space.name}, {space.measure} on the validation split",
        [*rows, ("result", result), ("winner", applied)],
        [report, preset],
    )


def _score(each: Confirmed) -> str:
    again = f"{each.mean:.4g} [{each.low:.4g}, {each.high:.4g}] with {len(each.again)} fresh seeds"
    if each.found is None:
        return again
    return f"{again}; in the search {each.found:.4g}"


def _yaml(values: Mapping[str, Any]) -> str:
    from io import StringIO

    from ruamel.yaml import YAML

    nested: dict[str, Any] = {}
    for key, value in values.items():
        *sections, last = key.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    stream = StringIO()
    YAML().dump(nested, stream)
    return stream.getvalue()
