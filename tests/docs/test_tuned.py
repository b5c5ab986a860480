"""The comparisons at tuned rates: which rate is tried next and taken, and what a table says."""

import shutil
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from experiments import MEASURES, Results
from tests.committed import DEFAULT_PARAMS
from tuned import (
    RATE,
    Comparison,
    Tuned,
    TunedArm,
    chosen_rate,
    load_tuned,
    measured,
    next_rate,
    tuned_table,
)

from scratchformer.params import load_params
from scratchformer.params.presets import apply_preset

ROOT = Path(__file__).parents[2]
CODE = "c0de"
BASE, OTHER = TunedArm("base", 0.004), TunedArm("other", 0.004, ("train_scratch.schedule=linear",))
TUNED = Tuned(10, (11, 12, 13), {"base": BASE, "other": OTHER}, {})


@pytest.mark.parametrize(
    ("bottom", "taken"), [(0.004, 3), (0.008, 3), (0.016, 4), (0.032, 5), (0.002, 4), (0.0005, 6)]
)
def test_rates_are_tried_until_the_best_is_not_at_the_edge(bottom: float, taken: int) -> None:
    losses: dict[float, float] = {}
    while (rate := next_rate(0.004, losses)) is not None:
        losses[rate] = max(rate / bottom, bottom / rate)
    assert len(losses) == taken
    assert min(losses, key=lambda rate: losses[rate]) == bottom
    assert min(losses) < bottom < max(losses)


def run(arm: TunedArm, rate: float, seed: int, loss: float) -> Results:
    row = dict.fromkeys(MEASURES, "0.25") | {"valid_loss": str(loss)}
    return {arm.key(rate, seed, CODE): row}


def tuning(arm: TunedArm, best: float) -> Results:
    """Half the best rate and twice of it lose 1."""
    rates = {best / 2: 2.0, best: 1.0, best * 2: 2.0}
    return {k: v for rate, loss in rates.items() for k, v in run(arm, rate, 10, loss).items()}


def test_a_rate_is_taken_only_when_both_neighbours_are_worse() -> None:
    results = tuning(BASE, 0.008)
    assert chosen_rate(BASE, TUNED, CODE, results) == 0.008
    assert chosen_rate(BASE, TUNED, CODE, dict(list(results.items())[:2])) is None
    assert chosen_rate(BASE, TUNED, "other code", results) is None


def test_a_table_pairs_the_seeds_and_leaves_out_the_one_that_chose() -> None:
    results = {**tuning(BASE, 0.008), **tuning(OTHER, 0.004)}
    for seed, loss, more in ((11, 1.0, 0.1), (12, 2.0, 0.2), (13, 3.0, 0.3)):
        results |= run(BASE, 0.008, seed, loss) | run(OTHER, 0.004, seed, loss + more)
    table = tuned_table(Comparison(12, ("base", "other")), TUNED, results)
    assert "| base | 0.008 | 2.000 (1.000–3.000) |  |" in table
    # mean 0.2, standard deviation 0.1: t(0.975, 2) = 4.3027 times 0.1 / √3 = 0.248
    assert "| other | 0.004 | 2.200 (1.100–3.300) | +0.200 [-0.048, +0.448] |" in table
    assert "Not measured" not in table

    del results[OTHER.key(0.004, 13, CODE)]
    assert measured(OTHER, TUNED, CODE, results) is None
    table = tuned_table(Comparison(12, ("base", "other")), TUNED, results)
    assert "| other |" not in table and "Not measured: other." in table


def test_every_arm_is_in_a_table_and_is_what_the_parameters_have(tmp_path: Path) -> None:
    tuned = load_tuned()
    assert {name for table in tuned.tables.values() for name in table.arms} == set(tuned.arms)
    assert tuned.tuning_seed not in tuned.seeds
    shutil.copy(DEFAULT_PARAMS, tmp_path / "params.yaml")
    apply_preset("lesson", tmp_path / "params.yaml", ROOT / "presets")
    lesson = (tmp_path / "params.yaml").read_text(encoding="utf-8")
    seen = set()
    for arm in tuned.arms.values():
        (tmp_path / "params.yaml").write_text(lesson, encoding="utf-8")
        apply_overrides(tmp_path / "params.yaml", [*arm.settings, f"{RATE}={arm.start:g}"])
        seen.add(load_params(tmp_path / "params.yaml").model_dump_json())
    assert len(seen) == len(tuned.arms)
