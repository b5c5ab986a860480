"""Trials are claimed once, survive their process, and the best is shown to be better or not."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from tests.committed import DEFAULT_PARAMS
from tests.evaluation.conftest import workplace
from tests.training.conftest import make_stage_folder

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.base.files import read_json, write_json
from scratchformer.base.layout import TRACKS
from scratchformer.params import FilesSource, GateName, Params, load_params
from scratchformer.params.reading import parse_params
from scratchformer.search import trial as trials
from scratchformer.search.confirmation import Setting, compare, plan, verdict, write_results
from scratchformer.search.runs.checkout import make_folder, params_with, train_in
from scratchformer.search.space import Space
from scratchformer.search.study import open_study

__all__ = ["workplace"]
optuna = pytest.importorskip("optuna")
RATE = "train_scratch.optimizer.learning_rate"


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """A checkout in which `tokenize` has run, with a training of a tenth of a second."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    made = make_stage_folder(
        tmp_path, max_steps=6, validate_every=2, skip_gates=list(get_args(GateName))
    )
    (tmp_path / "params.yaml").write_text(made.model_dump_json())
    (tmp_path / "presets").mkdir()
    return load_params()


def space_of(**changes: Any) -> Space:
    values = {RATE: [0.03, 0.0001]}
    return Space.model_validate(
        {"name": "toy", "stage": "train_scratch", "sampler": "grid", "space": values} | changes
    )


Trainer = Callable[[Path, Any, Any], dict[str, Any]]


def trainer(curves: Mapping[float, list[float]]) -> Trainer:
    """Stands for a training: validations of a learning rate, without the updates between."""

    def train(folder: Path, track: Any, on_validation: Any) -> dict[str, Any]:
        rate = load_params(folder / "params.yaml").train_scratch.optimizer.learning_rate
        curve = folder / ".checkpoints/a/b/history/valid.csv"
        curve.parent.mkdir(parents=True, exist_ok=True)
        lines = ["step,loss"]
        for place, loss in enumerate(curves[rate]):
            lines.append(f"{10 * place + 10},{loss}")
            curve.write_text("\n".join(lines) + "\n")
            on_validation(10 * place + 10, {"loss": loss})
        return {"valid": {"loss": min(curves[rate])}, "best_step": 1, "weights": "w"}

    return train


def ended(space: Space, params: Params) -> list[tuple[str, float | None]]:
    return [(t.state.name, t.value) for t in open_study(space, params).trials]


def test_two_trainings_and_the_better_one_as_a_preset(params: Params, tmp_path: Path) -> None:
    space = space_of(confirmation={"best": 1, "seeds": 2})
    while trials.run_next(space, params):
        pass
    first, second = open_study(space, params).trials
    assert first.value < second.value and first.params == {RATE: 0.03}
    folder = trials.folder_of_trial(space, 0)
    assert {path.name for path in folder.glob("data/tokenized/scratch/*")} == {
        "train.arrow", "valid.arrow", "info.json",
    }  # fmt: skip # no test split
    curve = (folder / "reports/history/scratch/valid.csv").read_text().splitlines()
    assert list(first.intermediate_values) == [1, 2, 3] and len(curve) == 4
    assert float(curve[1].split(",")[1]) == pytest.approx(first.intermediate_values[1])

    settings = plan(space, params, open_study(space, params))
    assert [(each.name, each.found) for each in settings] == [
        ("params.yaml", None), ("trial 0", first.value),
    ]  # fmt: skip
    for setting in settings:
        for place in setting.folders:
            train_in(place, TRACKS["scratch"], lambda step, found: None)
    seeds = [load_params(place / "params.yaml").run.seed for place in settings[1].folders]
    assert seeds == [params.run.seed + 1, params.run.seed + 2]
    confirmed = compare(space, settings)
    assert len(set(confirmed[1].again)) == 2 and first.value not in confirmed[1].again
    write_results(space, confirmed)
    report = read_json(tmp_path / ".search/toy/report.json")
    assert report["settings"][1]["found"] == first.value
    preset = (tmp_path / "presets/toy.yaml").read_text()
    assert preset.startswith("# Found by `scratchformer search`: trial 0 is ")
    assert preset.endswith("train_scratch:\n  optimizer:\n    learning_rate: 0.03\n")


@pytest.mark.slow
def test_a_trial_of_a_killed_process_is_taken_up_and_ends_with_the_same_bytes(
    params: Params, tmp_path: Path
) -> None:
    write_json(tmp_path / "space.yaml", {
        "name": "toy", "stage": "train_scratch", "sampler": "grid", "space": {RATE: [0.03]},
    })  # fmt: skip
    document = params.model_dump(mode="json")
    document["train_scratch"] |= {"max_steps": 120, "validate_every": 5}
    write_json(tmp_path / "params.yaml", document)
    params, space = load_params(), space_of(space={RATE: [0.03]})
    folder = trials.folder_of_trial(space, 0)
    process = subprocess.Popen([sys.executable, "-m", "scratchformer.search.trial", "space.yaml"])
    deadline = time.monotonic() + 120
    while not list(folder.glob(".checkpoints/train_scratch/*/step-*/manifest.json")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    assert trials._claim(space, params) is None  # it is held, and there is no other
    process.send_signal(signal.SIGKILL)
    process.wait()
    reported = open_study(space, params).trials[0].intermediate_values
    assert 0 < len(reported) < 24 and ended(space, params) == [("RUNNING", None)]

    assert trials.run_next(space, params)
    (only,) = open_study(space, params).trials
    assert only.state.name == "COMPLETE" and only.user_attrs["starts"] == 2
    assert list(only.intermediate_values) == list(range(1, 25))
    whole = tmp_path / "undisturbed"
    full = params_with(params, {RATE: 0.03}, tmp_path, params.run.seed)
    make_folder(whole, tmp_path, TRACKS["scratch"], full)
    result = train_in(whole, TRACKS["scratch"], lambda step, found: None)
    assert only.user_attrs["weights"] == result["weights"]
    assert only.value == result["valid"]["loss"]
    assert not trials.run_next(space, params)  # and it is not run again


def test_fine_tuning_is_searched_too(
    workplace: Callable[[str, str], Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    document = workplace("words", "classes").model_dump(mode="json")
    document["finetune"] |= {"epochs": 2, "frozen_layers": 0}
    write_json(Path("params.yaml"), document)
    params = load_params()
    Path("models/tokenizers/finetune").mkdir(parents=True)
    for file in Path("models/pretrained").glob("tokenizer*"):
        shutil.copy(file, "models/tokenizers/finetune")
    space = space_of(
        stage="finetune", measure="accuracy", space={"finetune.learning_rate": [0.003]}
    )
    assert trials.run_next(space, params)
    (only,) = open_study(space, params).trials
    assert only.state.name == "COMPLETE", only.user_attrs
    assert list(only.intermediate_values) == [1, 2]
    assert only.value == max(only.intermediate_values.values())


def test_no_two_processes_have_the_same_trial(params: Params) -> None:
    space = space_of()
    held = [trials._claim(space, params), trials._claim(space, params)]
    assert [claim[0].number for claim in held if claim] == [0, 1]
    assert trials._claim(space, params) is None
    held[0][1].release()  # its process died
    again = trials._claim(space, params)
    assert again is not None and again[0].number == 0
    assert again[0].params == {} and space.choose(again[0]) == {RATE: 0.03}
    again[1].release()
    third = trials._claim(space, params)
    assert third is not None
    third[1].release()
    assert trials._claim(space, params) is None
    first = open_study(space, params).trials[0]
    assert (first.state.name, first.user_attrs["reason"]) == ("FAIL", "its process died 3 times")


def test_a_database_keeps_the_record_too(
    params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "MySQLdb", None)  # a driver that is not installed
    space = space_of(storage=f"sqlite:///{tmp_path / 'search.db'}")
    held = [trials._claim(space, params), trials._claim(space, params)]
    assert [claim[0].number for claim in held if claim] == [0, 1]
    assert trials._claim(space, params) is None
    for claim in held:
        claim[1].release()
    assert not (tmp_path / ".search/toy/journal.log").exists()
    for url, told in (
        (f"sqlite:///{tmp_path}/no/search.db", "unable to open database file"),
        ("nodatabase://here", "cannot be used"),
        ("postgresql+nodriver://here/search", "cannot be used"),
        ("mysql+mysqldb://here/search", "driver of this database is not installed"),
    ):
        with pytest.raises(ParamsError, match=told):
            open_study(space_of(storage=url), params)


def test_a_trial_that_is_stopped_says_when_and_why(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = space_of(halving=2, space={RATE: [0.03, 0.02, 0.01]})
    curves = {0.03: [2.0, 1.0], 0.02: [1.9, 1.5], 0.01: [2.5, 0.1]}
    monkeypatch.setattr(trials, "train_in", trainer(curves))
    while trials.run_next(space, params):
        pass
    assert ended(space, params) == [("COMPLETE", 1.0), ("PRUNED", 1.5), ("PRUNED", 2.5)]
    assert open_study(space, params).trials[2].user_attrs["reason"] == (
        "after validation 1 (update 10): loss 2.5 is not in the best 1/2 of the trials that came "
        "so far"
    )


def test_the_last_validation_stops_nothing(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third of three: the training is paid for, so its value is kept."""
    space = space_of(halving=3, space={RATE: [0.03, 0.02]})
    curves = {0.03: [2.0, 1.0, 1.0], 0.02: [1.9, 1.5, 1.4]}
    monkeypatch.setattr(trials, "train_in", trainer(curves))
    while trials.run_next(space, params):
        pass
    assert ended(space, params) == [("COMPLETE", 1.0), ("COMPLETE", 1.4)]


def test_a_setting_that_cannot_be_trained_is_told(params: Params) -> None:
    space = space_of(space={"train_scratch.model.num_heads": [3]})
    assert trials.run_next(space, params)
    (failed,) = open_study(space, params).trials
    assert failed.state.name == "FAIL" and "d_model" in failed.user_attrs["reason"]
    with pytest.raises(ParamsError, match="no trial was completed"):
        plan(space, params, open_study(space, params))


def test_a_search_is_not_mixed_with_another(params: Params) -> None:
    open_study(space_of(), params)
    open_study(space_of(trials=99), params)  # more of the same
    with pytest.raises(ParamsError, match="begun with other space; give this one another name"):
        open_study(space_of(seed=1), params)
    shutil.copyfile("data/tokenized/scratch/train.arrow", "data/tokenized/scratch/valid.arrow")
    with pytest.raises(ParamsError, match="begun with other rows"):
        open_study(space_of(), params)
    Path("data/tokenized/scratch/valid.arrow").unlink()
    with pytest.raises(DataError, match=r"valid\.arrow not found"):
        open_study(space_of(), params)


def test_processes_and_a_search_that_goes_on_propose_differently(params: Params) -> None:
    space = space_of(sampler="tpe", trials=4, space={RATE: {"low": 0.001, "high": 0.1}})
    claims = [trials._claim(space, params) for _ in range(4)]
    chosen = [space.choose(claim[0])[RATE] for claim in claims if claim]
    assert len(set(chosen)) == 4 and trials._claim(space, params) is None


def confirmed_of(folder: Path, measure: str, base: list[float], *others: list[float]) -> str:
    settings = []
    for name, values in zip(("params.yaml", "trial 0", "trial 1"), (base, *others), strict=False):
        folders = [folder / name / str(place) for place in range(len(values))]
        for place, value in zip(folders, values, strict=True):
            write_json(place / "result.json", {"valid": {measure: value}})
        settings.append(Setting(name, {}, None, folders))
    space = space_of(measure=measure)
    return verdict(space, compare(space, settings))


def test_better_is_said_of_paired_differences_only(tmp_path: Path) -> None:
    """The spread between seeds is ten times the difference, which every seed shows."""
    base = [1.0, 2.0, 3.0, 4.0]
    told = confirmed_of(tmp_path / "a", "loss", base, [0.9, 1.91, 2.9, 3.89])
    assert told.startswith("trial 0 is better than params.yaml: loss -0.1 [-0.1")
    told = confirmed_of(tmp_path / "b", "loss", base, [0.4, 2.1, 3.2, 3.9])
    assert told.startswith("trial 0 is not shown to be better")
    # Higher is better: the same differences are now a loss.
    told = confirmed_of(tmp_path / "c", "accuracy", base, [0.9, 1.91, 2.9, 3.89])
    assert told.startswith("trial 0 is not shown to be better")
    told = confirmed_of(tmp_path / "d", "accuracy", base, [1.1, 2.09, 3.1, 4.11])
    assert told.startswith("trial 0 is better")


def test_more_candidates_need_a_clearer_difference(tmp_path: Path) -> None:
    base, near = [0.0, 0.0, 0.0, 0.0], [-1.0, -2.0, -3.0, -4.0]
    # t = 2.5 / 0.6455 = 3.87: above 3.18 (5 % with 3 degrees of freedom), below 4.18 (2.5 %).
    assert "is better" in confirmed_of(tmp_path / "a", "loss", base, near)
    assert "is not shown" in confirmed_of(tmp_path / "b", "loss", base, near, base)


def test_own_files_and_models_are_named_from_the_checkout(tmp_path: Path) -> None:
    """A trial runs in a folder of its own, where a relative path would mean another file."""
    document = load_params(DEFAULT_PARAMS).model_dump(mode="json")
    files = {"kind": "files", "train": "data/raw/a.csv", "test": "data/raw/b.csv"}
    document["prepare"]["finetune"]["source"] = files
    document["pretrained"] = {"kind": "folder", "name": "models/pretrained/own"}
    found = params_with(parse_params(document, Path("p")), {RATE: 0.1}, tmp_path, seed=3)
    assert found.train_scratch.optimizer.learning_rate == 0.1 and found.run.seed == 3
    source = found.prepare.finetune.source
    assert isinstance(source, FilesSource) and source.valid is None
    assert (source.train, source.test) == tuple(
        str(tmp_path / "data/raw" / name) for name in ("a.csv", "b.csv")
    )
    assert found.pretrained.name == str(tmp_path / "models/pretrained/own")
