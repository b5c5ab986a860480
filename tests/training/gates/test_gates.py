"""The gates: each bug turns its own red and no other, and the training does not notice them."""

import json
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
import torch
from tests.committed import DEFAULT_PARAMS

from scratchformer.base.errors import GateError, ParamsError
from scratchformer.data.tokenized.batches import TokenBatches
from scratchformer.params import GateName, load_params
from scratchformer.training.build import build_objective
from scratchformer.training.gates import GATES, pass_gates, run_gates
from scratchformer.training.gates.rate import HIGHEST, LOWEST, WARN_BEYOND

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
BUGS = tomllib.loads((HERE / "gate_bugs.toml").read_text(encoding="utf-8"))["bug"]
NAMES = [gate.name for gate in GATES]
FIRST = {bug["gate"]: bug["name"] for bug in reversed(BUGS)}  # of each gate; daily
SIGNS = {"green": "·", "red": "RED", "not judged": "-", "skipped": "s"}


@pytest.fixture(scope="module")
def matrix(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the gates say of the untouched code and of the bugs that this run of pytest asks for."""
    chosen = [getattr(item, "callspec", None) for item in request.session.items]
    asked = [call.params["bug"]["name"] for call in chosen if call and "bug" in call.params]
    output = tmp_path_factory.mktemp("gates") / "matrix.json"
    command = [sys.executable, HERE / "gate_matrix.py", output, *asked]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-3000:]
    found = json.loads(output.read_text(encoding="utf-8"))
    width = max(map(len, found))
    print(f"\n{'bug':{width}}  " + "  ".join(NAMES))
    for bug, outcomes in found.items():
        cells = (f"{SIGNS[outcomes[name][0]]:^{len(name)}}" for name in NAMES)
        print(f"{bug or '(none)':{width}}  " + "  ".join(cells))
    return found


@pytest.mark.slow
def test_untouched_code_is_green(matrix):
    assert {name: state for name, (state, _) in matrix[""].items()} == dict.fromkeys(NAMES, "green")


@pytest.mark.slow
@pytest.mark.parametrize(
    "bug",
    [
        pytest.param(
            bug, id=bug["name"],
            # A second bug of a gate shows what else it sees, not that it can be red.
            marks=() if bug["name"] == FIRST[bug["gate"]] else pytest.mark.release,
        )
        for bug in BUGS
    ],
)
def test_a_bug_turns_its_own_gate_red_and_no_other(matrix, bug):
    states = {name: state for name, (state, _) in matrix[bug["name"]].items()}
    assert [name for name, state in states.items() if state == "red"] == [bug["gate"]]
    after = {gate.name: gate.after for gate in GATES}
    for name, state in states.items():
        assert (state == "not judged") == (bug["gate"] in after[name]), name


def test_every_gate_that_can_be_red_has_its_bugs():
    assert {bug["gate"] for bug in BUGS} == {*NAMES} - {"learning_rate"}
    assert len({bug["name"] for bug in BUGS}) == len(BUGS) >= 8
    assert get_args(GateName) == tuple(NAMES)


def test_the_training_is_the_same_with_and_without_gates(training):
    """Weights, curves and random numbers: bit by bit."""
    left_alone, gated = training(folder="alone"), training()
    torch.manual_seed(3)
    left_alone._start()
    after_alone = torch.rand(5)
    gated.before_first = lambda: pass_gates(gated.objective, gated.batches, gated.settings, 1)
    torch.manual_seed(3)
    gated._start()
    assert torch.equal(torch.rand(5), after_alone)
    assert gated.model.training
    assert all(parameter.grad is None for parameter in gated.parameters.values())
    for one in (left_alone, gated):
        for _ in range(3):
            one.update()
    for name, parameter in gated.parameters.items():
        assert torch.equal(parameter, left_alone.parameters[name])


def test_gates_run_before_the_first_update_only(training):
    calls = []
    first = training({"before_first": lambda: calls.append(first.state.step)}, max_steps=4)
    first.run()
    training({"before_first": lambda: calls.append("again")}, max_steps=4).run()
    assert calls == [0]


@pytest.fixture
def detached(training, monkeypatch):
    """A training whose encoder does not learn and whose loss is wrong."""
    one = training()
    one.model.encoder.register_forward_hook(lambda module, inputs, output: output.detach())
    backward = type(one.objective).backward
    monkeypatch.setattr(
        type(one.objective), "backward", lambda self, *given: 2 * backward(self, *given)
    )
    return one


def test_all_red_gates_are_told_together_and_can_be_skipped(detached, capsys):
    def gates(*skipped: str) -> str:
        settings = detached.settings.model_copy(update={"skip_gates": list(skipped)})
        with pytest.raises(GateError) as caught:
            pass_gates(detached.objective, detached.batches, settings, 1)
        assert caught.value.exit_code == 4
        return str(caught.value)

    both = gates("input_matters", "overfits_one_batch", "learning_rate").splitlines()
    assert both[0].startswith("gate gradients is red: no gradient: source_embedding.tokens.weight")
    uniform = "uniform guessing among 12 answers costs 4.97"
    assert both[1].startswith(f"gate initial_loss is red: {uniform}")
    assert all("to train anyway, add" in line for line in both)
    assert "- a model without the source does worse: skipped by train_sc" in capsys.readouterr().out
    one = gates("gradients", "input_matters", "overfits_one_batch", "learning_rate")
    assert one.count("\n") == 0 and one.startswith("gate initial_loss")


def test_a_learning_rate_far_outside_is_a_warning(training, capsys):
    skipped = [name for name in NAMES if name != "learning_rate"]
    for rate, warned in ((0.01, False), (WARN_BEYOND, True), (1e-9, True)):
        one = training(learning_rate=float(rate), skip_gates=skipped)
        pass_gates(one.objective, one.batches, one.settings, 1)
        assert (f"learning_rate is {rate:g}, but" in capsys.readouterr().err) == warned


def test_a_bracket_of_learning_rates_is_suggested(training, capsys):
    """The printed line names two rates; the loss falls faster between them than far below."""
    one = training(skip_gates=[name for name in NAMES if name != "learning_rate"])
    pass_gates(one.objective, one.batches, one.settings, 1)
    found = re.search(r"rate works: rates of (\S+) to (\S+) look good", capsys.readouterr().out)
    assert found is not None
    low, high = map(float, found.groups())
    assert LOWEST < low < high < HIGHEST
    losses = {}
    for rate in (low / 100, low, high):
        made = training(folder=str(rate), learning_rate=rate, warmup_steps=2, max_steps=40,
                        validate_every=40, schedule="constant")  # fmt: skip
        made.run()
        losses[rate] = made.state.best_values["loss"]
    assert max(losses[low], losses[high]) < losses[low / 100] - 0.1, losses


@pytest.mark.slow
def test_the_gates_of_the_default_model_take_less_than_half_a_minute():
    """CPU time, with 2,000 words of 3 to 12 letters; the clock shows less on an idle machine."""
    params = load_params(DEFAULT_PARAMS)
    random = np.random.default_rng(0)
    words = [[*random.integers(4, 40, random.integers(3, 12)).tolist(), 2] for _ in range(2000)]
    column = pa.array(words, pa.list_(pa.int32()))
    table = pa.table({"row": pa.array(range(2000), pa.int32()), "source": column, "target": column})
    batches = TokenBatches(table, params.train_scratch.batch_tokens, 0)
    info = {
        "task": "seq2seq", "source_vocab_size": 40, "target_vocab_size": 40,
        "max_source_length": 16, "max_target_length": 16,
    }  # fmt: skip
    objective = build_objective(params.train_scratch, info, batches, 0)
    start = time.process_time()
    pass_gates(objective, batches, params.train_scratch, 0)
    assert time.process_time() - start < 30


def classifier(settings, labels_are_known: bool):
    random = np.random.default_rng(0)
    texts = [random.integers(4, 9, random.integers(2, 7)).tolist() for _ in range(80)]
    table = pa.table({
        "row": pa.array(range(80), pa.int32()),
        "source": pa.array([[*text, 2] for text in texts], pa.list_(pa.int32())),
        "label": pa.array([sum(text) % 3 for text in texts], pa.int32()),
    })
    if not labels_are_known:
        table = table.set_column(1, "source", pa.array([[4, 2]] * 80, pa.list_(pa.int32())))
    batches = TokenBatches(table, 64, 0)
    info = {"task": "classification", "source_vocab_size": 9, "max_source_length": 7}
    return build_objective(settings(), {**info, "num_labels": 3}, batches, 0), batches, settings()


def test_a_classifier_has_the_gates_that_make_sense(settings):
    outcomes, _ = run_gates(*classifier(settings, True), 0)
    assert {*NAMES} - {*outcomes} == {"future", "encoder_used"}
    assert {outcome.state for outcome in outcomes.values()} == {"green"}
    outcomes, _ = run_gates(*classifier(settings, False), 0)
    assert outcomes["input_matters"].state == "red"


def test_an_unknown_gate_is_named_with_the_nearest(tmp_path):
    path = tmp_path / "params.yaml"
    text = DEFAULT_PARAMS.read_text(encoding="utf-8")
    path.write_text(text.replace("skip_gates: []", "skip_gates: [initial_los]"), encoding="utf-8")
    with pytest.raises(ParamsError, match=r"skip_gates\.0: .*did you mean initial_loss\?"):
        load_params(path)


def pairs_of_tokens(rows: list[int], sources: list[list[int]], targets: list[list[int]]) -> Any:
    ids = pa.list_(pa.int32())
    return pa.table({
        "row": pa.array(rows, pa.int32()),
        "source": pa.array(sources, ids),
        "target": pa.array(targets, ids),
    })


@pytest.mark.parametrize("row_each", [False, True], ids=["merged", "a-row-each"])
def test_a_source_may_have_several_references(settings, info, row_each):
    """Twelve sources of three references each, in one prepared row or in three."""
    random = np.random.default_rng(0)
    references = [[*random.permutation(range(4, 12))[:4].tolist(), 2] for _ in range(36)]
    sources = [[*references[3 * (place // 3)][:3], 2] for place in range(36)]
    rows = [place if row_each else place // 3 for place in range(36)]
    values = settings(skip_gates=[name for name in NAMES if name != "input_matters"])
    batches = TokenBatches(pairs_of_tokens(rows, sources, references), 64, 0)
    objective = build_objective(values, info, batches, 1)
    outcome = run_gates(objective, batches, values, 1, values.skip_gates)[0]["input_matters"]
    assert outcome.state == "green", outcome.found
    constant = TokenBatches(pairs_of_tokens(rows, [[4, 2]] * 36, references), 64, 0)
    outcome = run_gates(objective, constant, values, 1, values.skip_gates)[0]["input_matters"]
    assert outcome.state == "red" and "100% of the first rows" in outcome.found


@pytest.mark.parametrize("source_length", [2, 8])
def test_the_shortest_lengths_of_the_schema_pass_every_gate(settings, info, source_length):
    """max_target_length 2, and max_source_length 2 as well: one letter and EOS."""
    letters = [4 + place % 8 for place in range(40)]
    sources = [[letter] * (source_length - 1) + [2] for letter in letters]
    table = pairs_of_tokens(list(range(40)), sources, [[letter, 2] for letter in letters])
    lengths = {"max_source_length": source_length, "max_target_length": 2}
    batches = TokenBatches(table, 64, 0)
    for positions in ("sinusoidal", "learned"):
        values = settings(model__positions=positions)
        objective = build_objective(values, {**info, **lengths}, batches, 1)
        outcomes, _ = run_gates(objective, batches, values, 1)
        red = {name: outcome for name, outcome in outcomes.items() if outcome.state != "green"}
        assert red == {}
