"""The text of the results comes from the metrics alone, and README holds just that."""

import copy
import json
from typing import Any

import pytest
from tests.committed import committed

from scratchformer.base.errors import ParamsError
from scratchformer.base.measures import MEASURES
from scratchformer.evaluation.tables.results_table import (
    BEGIN,
    END,
    render,
    replace_block,
    summary_rows,
)
from scratchformer.record.metrics import parse_metrics


def change(value: float, p_value: float, **ends: float) -> dict[str, float]:
    return {"value": value, "p_value": p_value, **ends}


def scores(value: float, **more: Any) -> dict[str, Any]:
    ends = {"low": value - 0.01, "high": value + 0.01}
    return {"accuracy": value, "macro_f1": value, "ece": 0.05, "temperature": 1.2, **more,
            "intervals": {"accuracy": ends, "macro_f1": ends}}  # fmt: skip


def words(value: float, per: float) -> dict[str, Any]:
    ends = {"low": value - 0.01, "high": value + 0.01}
    return {"wer": value, "per": per, "exact_match": 1 - value, "intervals": {"wer": ends}}


VALUES: dict[str, Any] = {
    "scratch": {
        "task": "seq2seq", "output": "words",
        **words(0.389, 0.09), "perplexity": 1.5, "n": 6315, "groups": 6315, "valid": {"wer": 0.4},
        "baselines": {"copy": words(0.98, 1.0), "igtree": words(0.4, 0.086)},
        "against": {
            "copy": {"wer": change(-0.6, 0.0004), "per": change(-0.9, 0.0004)},
            "igtree": {
                "wer": change(-0.011, 0.2), "per": change(0.004, 0.002, low=0.001, high=0.007),
            },
        },
    },
    "finetune": {
        "task": "classification",
        "before": scores(0.468, prompt="{label}"), "after": scores(0.779), "n": 2085, "groups": 171,
        "valid": {"before": {"accuracy": 0.4}, "after": {"accuracy": 0.7}},
        "delta": {
            "accuracy": change(0.311, 1 / 2001, low=0.25, high=0.37),
            "macro_f1": change(0.3, 0.0123, low=0.2, high=0.4),
        },
        "against": {
            name: {"accuracy": change(0.1, 0.01)} for name in ("majority", "tfidf", "probe")
        },
        "baselines": {"majority": scores(0.02), "tfidf": scores(0.7), "probe": scores(0.742)},
    },
    "method": {"confidence": 0.95, "resamples": 2000, "interval": "BCa bootstrap of groups"},
}  # fmt: skip
METRICS = parse_metrics(VALUES)


def test_the_tables_name_numbers_intervals_n_and_method() -> None:
    text = render(METRICS)
    assert "| letters by their context (IGTree) | 40.0 % [39.0, 41.0] | 8.6 % |" in text
    assert "| **Transformer from scratch** | 38.9 % [37.9, 39.9] | 9.0 % | 1.50 |" in text
    assert "2,085 test rows in 171 groups" in text
    assert "95% bootstrap intervals (BCa, 2,000 resamples" in text
    assert "accuracy +31.1 points [+25.0, +37.0] (p ≤ 0.0005)" in text
    assert "macro-F1 +30.0 points [+20.0, +40.0] (p = 0.0123)" in text
    assert "McNemar" not in text  # rows come in groups
    assert "temperature was fitted on the validation split, for every system alike" in text
    assert "Zero-shot prompt, chosen on the validation split: `{label}`." in text


def test_mcnemars_test_is_told_where_it_was_made() -> None:
    node = {**VALUES["finetune"], "groups": 2085, "mcnemar": {"p_value": 1e-30, "fixed": 3}}
    assert "McNemar's test: p < 0.0001." in render(parse_metrics({**VALUES, "finetune": node}))


def test_a_control_that_beats_the_model_is_named_with_its_test() -> None:
    text = render(METRICS)
    assert (
        "- **A control is better than the model: letters by their context (IGTree) in phoneme "
        "error rate (model - control +0.4 points [+0.1, +0.7], p = 0.0020).**" in text
    )
    assert "(IGTree) in word error rate" not in text
    assert text.count("is better than the model") == 1
    named = [value for name, value in summary_rows(METRICS) if name == "scratch: a control leads"]
    assert len(named) == 1 and "phoneme error rate" in named[0]


@pytest.mark.parametrize(("p_value", "doubt"), [(0.049, False), (0.051, True)])
def test_a_lead_that_may_be_chance_is_called_so(p_value: float, doubt: bool) -> None:
    values = copy.deepcopy(VALUES)
    values["scratch"]["against"]["igtree"]["per"]["p_value"] = p_value
    metrics = parse_metrics(values)
    text, rows = render(metrics), summary_rows(metrics)
    assert ("- A control is ahead of the model, by chance perhaps: letters by" in text) == doubt
    assert ("is better than the model: letters by" in text) != doubt
    assert any(value.endswith("(by chance, perhaps)") for _, value in rows) == doubt


def test_an_equal_control_does_not_lead() -> None:
    values = copy.deepcopy(VALUES)
    values["scratch"]["baselines"]["igtree"]["per"] = values["scratch"]["per"]
    assert "is better than the model" not in render(parse_metrics(values))


@pytest.mark.parametrize("key", [m.key for m in MEASURES.values() if m.in_table and not m.said_by])
def test_every_measure_of_the_registry_has_its_column(key: str) -> None:
    values = copy.deepcopy(VALUES)
    values["finetune"]["after"][key] = 0.1234
    text = render(parse_metrics(values))
    header = next(line for line in text.splitlines() if line.startswith("| system") and "macro" in
                  line)  # fmt: skip
    assert f" {MEASURES[key].title} |" in header
    assert MEASURES[key].text(0.1234) in text


def test_systems_are_ordered_from_the_controls_to_the_model() -> None:
    text = render(METRICS)
    names = ["majority class", "TF-IDF", "before (zero-shot)", "linear probe", "after fine-tuning"]
    assert [text.index(name) for name in names] == sorted(text.index(name) for name in names)


def test_every_row_has_as_many_cells_as_its_head() -> None:
    for block in render(METRICS).split("\n\n"):
        widths = {line.count("|") for line in block.splitlines() if line.startswith("|")}
        assert len(widths) <= 1


def test_the_summary_lists_every_system_and_the_change() -> None:
    rows = dict(summary_rows(METRICS))
    assert len(rows) == 3 + 5 + 1 + 1
    assert rows["after - before, accuracy"] == "+31.1 points [+25.0, +37.0], p ≤ 0.0005"
    assert rows["Transformer from scratch"].startswith("word error rate 38.9 %")


def test_the_block_is_replaced_and_the_rest_stays() -> None:
    readme = f"# Title\n{BEGIN}\nold 12.3 %\n{END}\nthe end\n"
    changed = replace_block(readme, METRICS)
    assert changed == f"# Title\n{BEGIN}\n{render(METRICS)}\n{END}\nthe end\n"
    assert replace_block(changed, METRICS) == changed


@pytest.mark.parametrize("readme", ["no marks", BEGIN, f"{END}\n{BEGIN}"])
def test_a_readme_without_the_marks_is_refused(readme: str) -> None:
    with pytest.raises(ParamsError, match=r"README\.md: expected the lines"):
        replace_block(readme, METRICS)


def test_readme_holds_the_committed_results() -> None:
    """What is committed with what is committed: a run of one's own changes the files, not these."""
    text = committed("README.md")
    metrics = parse_metrics(json.loads(committed("reports/metrics.json")))
    assert replace_block(text, metrics) == text, "run: scratchformer readme"
