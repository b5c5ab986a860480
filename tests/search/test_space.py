"""The file that says what is searched."""

from pathlib import Path
from typing import Any

import pytest
from tests.committed import DEFAULT_PARAMS

from scratchformer.base.errors import ParamsError
from scratchformer.params import Params, load_params
from scratchformer.search.space import Space, load_space

HEAD = "name: a\nstage: train_scratch\n"
RATE = "train_scratch.optimizer.learning_rate"


@pytest.fixture(scope="module")
def params() -> Params:
    return load_params(DEFAULT_PARAMS)


def read(folder: Path, params: Params, text: str) -> Space:
    (folder / "space.yaml").write_text(HEAD + text)
    return load_space(folder / "space.yaml", params)


class Chooser:
    """Takes the last choice and the highest number, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        self.asked[name] = choices
        return choices[-1]

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
        self.asked[name] = (low, high, step, log)
        return high

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None, log: bool
    ) -> float:
        self.asked[name] = (low, high, step, log)
        return high


CONDITIONAL = f"""
sampler: grid
space:
  train_scratch.schedule: [cosine, constant]
  train_scratch.warmup_steps:
    {{low: 10, high: 30, step: 10, when: {{train_scratch.schedule: [cosine]}}}}
  {RATE}: [0.1]
"""


def test_a_key_is_searched_where_its_condition_holds(tmp_path: Path, params: Params) -> None:
    space = read(tmp_path, params, CONDITIONAL)
    chooser = Chooser()
    assert space.choose(chooser) == {"train_scratch.schedule": "constant", RATE: 0.1}
    assert "train_scratch.warmup_steps" not in chooser.asked
    grid = space.grid()  # 3 warm-ups of cosine, and constant once
    assert [each.get("train_scratch.warmup_steps") for each in grid] == [10, 20, 30, None]
    assert all(each[RATE] == 0.1 for each in grid)


def test_numbers_are_whole_where_both_ends_are(tmp_path: Path, params: Params) -> None:
    space = read(tmp_path, params, f"""
space:
  {RATE}: {{low: 1e-4, high: 1, log: true}}
  train_scratch.warmup_steps: {{low: 1, high: 9}}
""")
    chooser = Chooser()
    space.choose(chooser)
    assert chooser.asked == {
        RATE: (0.0001, 1.0, None, True), "train_scratch.warmup_steps": (1, 9, 1, False),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("space: {train_scratch.learning_rat: [1]}", "did you mean train_scratch.optimizer.learn"),
        ("space: {run.seed: [1]}", "run.seed: not a key of train_scratch., prepare.scratch., tok"),
        ("space: {tokenize.finetune.max_length: [1]}", "not a key of train_scratch., prepare"),
        (f"space: {{{RATE}: {{low: 2, high: 1}}}}", r"low \(2\) must be less than high \(1\)"),
        (f"space: {{{RATE}: {{low: 0, high: 1, log: true}}}}", "low must be above 0"),
        (f"space: {{{RATE}: []}}", "at least 1"),
        ("space: {}", "at least 1"),
        (f"space: {{{RATE}: [1]}}\nmesure: wer", "unknown key; did you mean measure"),
        (f"space: {{{RATE}: [1]}}\nmeasure: los", "did you mean loss"),
        (f"space: {{{RATE}: [1]}}\nsampler: tpee", "sampler"),
        (f"space: {{{RATE}: {{low: 0.1, high: 1}}}}\nsampler: grid", "a range with a step"),
        (
            f"space: {{{RATE}: {{choices: [1], when: {{train_scratch.schedule: [linear]}}}}}}",
            "train_scratch.schedule must stand above",
        ),
    ],
)
def test_a_wrong_file_is_refused(text: str, told: str, tmp_path: Path, params: Params) -> None:
    with pytest.raises(ParamsError, match=told) as raised:
        read(tmp_path, params, text)
    assert all("space.yaml: " in line for line in str(raised.value).splitlines())
