"""Keys of earlier stages: the rows are made again for them, and only comparable ones are used."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from tests.evaluation.conftest import workplace
from tests.training.conftest import make_settings

from scratchformer.base.files import read_json, write_json
from scratchformer.params import GateName, Params, load_params
from scratchformer.search import trial as trials
from scratchformer.search.confirmation import plan
from scratchformer.search.runs import inputs
from scratchformer.search.space import Space
from scratchformer.search.study import open_study
from scratchformer.stages.prepare import prepare
from scratchformer.stages.tokenize import tokenize
from scratchformer.tracking import StageRun

__all__ = ["workplace"]
pytest.importorskip("optuna")
SOURCE, TARGET = (f"tokenize.scratch.{side}.algorithm" for side in ("source", "target"))


@pytest.fixture
def params(
    workplace: Callable[[str, str], Params], monkeypatch: pytest.MonkeyPatch
) -> Params:
    """A checkout in which `prepare` and `tokenize` have run: rows to reverse and to classify."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    document = workplace("words", "classes").model_dump(mode="json")
    lines = [f"{label} {'xyz'[row % 3]}{row},{label}" for row in range(20) for label in "abc"]
    Path("data/raw").mkdir(parents=True)
    Path("data/raw/rows.csv").write_text("\n".join(["text,label", *lines]))
    split = {"valid": 0.2, "test": 0.2}
    document["prepare"] |= {
        "scratch": {
            "task": "seq2seq", "split": split,
            "source": {"kind": "generated", "name": "reverse", "rows": 200},
        },
        "finetune": {
            "task": "classification", "split": split,
            "source": {"kind": "files", "train": "data/raw/rows.csv"},
        },
    }  # fmt: skip
    document["tokenize"]["scratch"]["source"]["algorithm"] = "word"
    quick = make_settings(max_steps=2, validate_every=2, skip_gates=list(get_args(GateName)))
    document |= {"train_scratch": quick.model_dump(mode="json")}
    document["run"]["threads"] = 1
    write_json(Path("params.yaml"), document)
    made = load_params()
    for stage in (prepare, tokenize):
        stage(made, StageRun(None))
    return made


def run(params: Params, name: str, measure: str, space: dict[str, list[Any]]) -> list[Any]:
    values = {"name": name, "stage": "train_scratch", "measure": measure, "sampler": "grid"}
    search = Space.model_validate({**values, "space": space})
    while trials.run_next(search, params):
        pass
    return list(open_study(search, params).trials)


def test_earlier_stages_run_for_their_keys_and_once_for_equal_values(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    original = inputs._make
    monkeypatch.setattr(
        inputs, "_make", lambda place, *rest: (made.append(place.name), original(place, *rest))
    )
    rate = "train_scratch.optimizer.learning_rate"
    space = {SOURCE: ["word", "character"], rate: [0.01, 0.001]}
    found = run(params, "sides", "loss", space)
    assert [trial.state.name for trial in found] == ["COMPLETE"] * 4, [t.user_attrs for t in found]
    assert len(made) == 2
    sizes = [
        read_json(Path(f".search/sides/trials/{n:05}/data/tokenized/scratch/info.json"))
        for n in range(4)
    ]
    assert [each["max_source_length"] for each in sizes] == [64] * 4
    assert sizes[0] == sizes[1] != sizes[2] == sizes[3]  # blanks are letters of their own
    assert not list(Path(".search").rglob("test.*"))  # of no trial, and of no inputs
    search = Space.model_validate({
        "name": "sides", "stage": "train_scratch", "sampler": "grid", "space": space,
        "confirmation": {"best": 4, "seeds": 2},
    })  # fmt: skip
    for setting in plan(search, params, open_study(search, params)):
        words = setting.values.get(SOURCE, "word") == "word"
        assert all(
            (read_json(folder / "data/tokenized/scratch/info.json") == sizes[0]) == words
            for folder in setting.folders
        )


def test_what_cannot_be_compared_is_refused(params: Params) -> None:
    (failed,) = run(params, "targets", "loss", {TARGET: ["character"]})
    assert failed.state.name == "FAIL"
    assert "other target tokens than params.yaml, and loss counts" in failed.user_attrs["reason"]
    (whole,) = run(params, "whole", "exact_match", {TARGET: ["character"]})
    assert whole.state.name == "COMPLETE", whole.user_attrs
    same, other = run(params, "rows", "loss", {"prepare.scratch.split.valid": [0.2, 0.3]})
    assert same.state.name == "COMPLETE", same.user_attrs
    assert "other rows in the validation split" in other.user_attrs["reason"]
    assert not list(Path(".search").rglob("test.*"))
