"""How much of the spread between trials each key explains, with the uncertainty of that number.

fANOVA (Hutter, Hoos and Leyton-Brown 2014, "An efficient approach for assessing hyperparameter
importance"): a random forest learns value from settings, and the variance of its predictions is
divided among the keys. A few dozen trials say little about it, so it is computed again for trials
drawn with repetition, each time with another forest; the interval has 95 % of these shares.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scratchformer.runtime.randomness import derive_seed

DRAWS = 40
_TREES = 32
_LEAST = 8  # trials
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Importance:
    """The share of one key, of 1 over all keys, and the ends of its interval."""

    key: str
    share: float
    low: float
    high: float


def importances(trials: Sequence[Any], value: Callable[[Any], float | None]) -> list[Importance]:
    """Of every key that all trials have, the largest first; [] where that is no question: too few
    trials, none that differ, or keys that are all under a condition.

    Args:
        trials: of Optuna, ended in whatever way.
        value: what of a trial is explained; trials without it are left out.
    """
    from optuna.trial import create_trial

    plain = [
        create_trial(params=trial.params, distributions=trial.distributions, value=found)
        for trial in trials
        if (found := value(trial)) is not None
    ]
    if len(plain) < _LEAST or len({trial.value for trial in plain}) == 1:
        return []
    keys = [key for key in plain[0].params if all(key in trial.params for trial in plain)]
    if not keys:
        return []
    whole = _shares(plain, keys, 0)
    random = np.random.default_rng(derive_seed(0, "search"))
    drawn = []
    for draw in range(1, DRAWS + 1):
        places = random.integers(0, len(plain), len(plain))
        drawn.append(_shares([plain[place] for place in places], keys, draw))
    tail = (1 - _CONFIDENCE) / 2
    measured: list[Importance] = []
    for key in keys:
        low, high = np.quantile([shares[key] for shares in drawn], [tail, 1 - tail])
        measured.append(Importance(key, float(whole[key]), float(low), float(high)))
    return sorted(measured, key=lambda each: -each.share)


def _shares(trials: Sequence[Any], keys: Sequence[str], seed: int) -> dict[str, float]:
    import optuna

    study = optuna.create_study(storage=optuna.storages.InMemoryStorage())
    study.add_trials(trials)
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=_TREES, seed=seed)
    if len({trial.value for trial in trials}) == 1:  # drawn again and again
        return dict.fromkeys(keys, 1 / len(keys))
    shares: dict[str, float] = optuna.importance.get_param_importances(
        study, evaluator=evaluator, params=list(keys)
    )
    return shares
