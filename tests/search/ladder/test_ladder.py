"""Four sizes by a rule, a law through their losses, and what it says of ten times the compute."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.search.test_search import params
from tests.training.conftest import make_settings

from scratchformer.base.errors import ParamsError
from scratchformer.base.files import read_json
from scratchformer.params import Params, load_params
from scratchformer.search import trial as trials
from scratchformer.search.ladder import run
from scratchformer.search.ladder.compute import flops_of_training
from scratchformer.search.ladder.fit import fit_law
from scratchformer.search.ladder.picture import ladder_figure
from scratchformer.search.ladder.sizes import sizes_of
from scratchformer.search.runs.checkout import params_with
from scratchformer.visualization.plots.style import save

__all__ = ["params"]


def test_a_law_is_found_again_with_an_interval_that_knows_its_noise() -> None:
    compute = np.repeat(10.0 ** np.array([12, 13, 14, 15]), 3)
    true = 1.2 + 0.8 * (compute / 1e15) ** -0.25
    exact = fit_law(compute, true)
    assert exact.at(1e16).value == pytest.approx(1.2 + 0.8 * 10**-0.25, rel=1e-4)
    assert exact.floor.value == pytest.approx(1.2, rel=1e-3)
    assert exact.exponent.value == pytest.approx(0.25, rel=1e-3)
    noise = np.random.default_rng(0).normal(0, 0.02, len(compute))
    told = fit_law(compute, true + noise).at(1e16)
    assert told.low < 1.2 + 0.8 * 10**-0.25 < told.high
    assert 0.01 < told.high - told.low < 0.5
    widths = [fit_law(compute, true + k * noise).at(1e16) for k in (0.1, 1)]
    assert widths[0].high - widths[0].low < (widths[1].high - widths[1].low) / 2


def test_no_axis_of_the_picture_shows_a_formula_as_it_is_typed(tmp_path: Path) -> None:
    compute = np.geomspace(1e9, 1e12, 4)
    figure = ladder_figure(compute, 3 * compute**-0.1, fit_law(compute, 3 * compute**-0.1), 1e13)
    save(figure, tmp_path, "ladder")
    (axes,) = figure.axes
    shown = [
        label.get_text() for axis in (axes.xaxis, axes.yaxis) for label in axis.get_ticklabels()
    ]
    assert "1e+10" in shown and not any("$" in each for each in shown)


def four_heads(params: Params) -> Params:
    document = params.model_dump(mode="json")
    quick = make_settings(model__num_heads=4, max_steps=16, validate_every=16)
    document["train_scratch"] |= json.loads(quick.model_dump_json(exclude={"skip_gates"}))
    Path("params.yaml").write_text(json.dumps(document))
    return load_params()


def test_sizes_keep_the_width_of_a_head_and_the_updates_for_each_weight(params: Params) -> None:
    with pytest.raises(ParamsError, match="needs num_heads of at least 4"):
        sizes_of(params)
    params = four_heads(params)
    sizes = sizes_of(params)
    full = [params_with(params, size.values, Path()).train_scratch for size in sizes]
    assert [each.model.d_model for each in full] == [4, 8, 12, 16]
    assert [each.model.num_heads for each in full] == [1, 2, 3, 4]
    assert [each.model.d_ff for each in full] == [8, 16, 24, 32]
    assert [each.max_steps for each in full] == [1, 4, 9, 16] and sizes[-1].values == {}
    assert full[0].optimizer.learning_rate == pytest.approx(0.02)  # 0.01 / √(1/4)


def test_the_ladder_is_climbed_and_predicts(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    def here(folders: list[Path], workers: int, command: list[str], log: Path) -> None:
        for folder in folders:
            assert trials.main([*command[1:], str(folder)]) == 0

    monkeypatch.setattr(run, "run_folders", here)  # eight processes would import torch each
    params = four_heads(params)
    summary = run.ladder(seeds=2, workers=2)
    found = read_json(Path("reports/ladder/ladder.json"))
    assert [step["width"] for step in found["steps"]] == [4, 8, 12, 16]
    assert all(len(set(step["loss"])) == 2 for step in found["steps"])
    compute = [step["compute"][0] for step in found["steps"]]
    assert compute == sorted(compute) and found["steps"][-1]["updates"] == [16, 16]
    assert compute[-1] == flops_of_training(params, 16)
    told = found["prediction"]
    assert told["compute"] == pytest.approx(10 * max(found["steps"][-1]["compute"]))
    assert told["low"] <= told["high"]
    assert Path("reports/ladder/ladder.png").stat().st_size > 10_000
    assert any("the smaller three predict" in value for _, value in summary.rows)
