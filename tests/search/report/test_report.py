"""The page of a search, and how sure its importances are."""

import math
import random
import re
from pathlib import Path
from typing import Any

import pytest
from tests.search.test_search import RATE, params, space_of

from scratchformer.base.files import write_json
from scratchformer.params import Params
from scratchformer.search.report import importance
from scratchformer.search.report.page import page_of, write_page
from scratchformer.search.study import open_study

__all__ = ["params"]
optuna = pytest.importorskip("optuna")
SCHEDULE, WARMUP = "train_scratch.schedule", "train_scratch.warmup_steps"
SPACE = {
    RATE: {"low": 0.0001, "high": 0.1, "log": True},
    "train_scratch.label_smoothing": {"low": 0.0, "high": 0.2},
    SCHEDULE: ["cosine", "constant"],
    WARMUP: {"low": 1, "high": 9, "when": {SCHEDULE: ["cosine"]}},
}


def fill(study: Any, space: Any, count: int) -> None:
    """Trials whose value is the distance of the rate from 0.003; every third is stopped."""
    draw = random.Random(0)
    for number in range(count):
        trial = study.ask()
        rate = space.choose(trial)[RATE]
        value = abs(math.log10(rate / 0.003)) + 0.01 * draw.random()
        trial.report(value + 1, 1)
        if number % 3 == 2:
            trial.set_user_attr("reason", "after validation 1: too <bad>")
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, value)


def test_the_key_that_decides_is_found_and_the_others_are_not(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importance, "DRAWS", 10)
    space = space_of(sampler="random", space=SPACE)
    study = open_study(space, params)
    fill(study, space, 36)
    first, *others = importance.importances(study.trials, lambda t: t.intermediate_values.get(1))
    assert first.key == RATE and first.low <= first.share <= first.high and first.low > 0.5
    assert all(each.high < 0.5 for each in others)
    assert [each.key for each in others if each.key == WARMUP] == []  # only under a condition
    assert importance.importances(study.trials[:5], lambda t: t.value) == []

    page = write_page(space)
    assert "were not trained again yet" in page.read_text(encoding="utf-8")
    setting = {"name": "trial 3", "found": 0.1, "again": [0.2, 0.4], "mean": 0.3, "low": 0.1,
               "high": 0.5, "difference": -0.1, "difference_low": -0.2, "difference_high": 0.1,
               "better": False}  # fmt: skip
    base = setting | {"name": "params.yaml", "found": None, "difference": None}
    told = {"verdict": "trial 3 is not shown to be better", "settings": [base, setting]}
    write_json(Path(".search/toy/report.json"), told)
    text = write_page(space).read_text(encoding="utf-8")
    assert page == page_of(space) and "default-src 'none'" in text and "//" not in re.sub(
        r"data:image/webp;base64,[\w+/=]+|<script>.*?</script>|<style>.*?</style>", "", text,
        flags=re.S,
    )  # fmt: skip
    for name in ("confirmed", "history", "importances", "slices", "contour", "parallel"):
        assert f'id="search-{name}"' in text
    assert text.count("too &lt;bad&gt;") == 12 and "too <bad>" not in text
    assert "trial 3 is not shown to be better." in text and "-0.1 [-0.2, +0.1]" in text
