"""The text of the results comes from the metrics alone, and README holds just that."""

from pathlib import Path
from typing import Any

import pytest

from scratchformer.base.errors import ParamsError
from scratchformer.base.files import read_json
from scratchformer.evaluation.tables.results_table import (
    BEGIN,
    END,
    render,
    replace_block,
    summary_rows,
)

ROOT = Path(__file__).parents[2]


def scores(value: float, **more: Any) -> dict[str, Any]:
    ends = {"low": value - 0.01, "high": value + 0.01}
    return {"accuracy": value, "macro_f1": value, "ece": 0.05, **more,
            "intervals": {"accuracy": ends, "macro_f1": ends}}  # fmt: skip


def words(value: float) -> dict[str, Any]:
    ends = {"low": value - 0.01, "high": value + 0.01}
    return {"wer": value, "per": value / 4, "exact_match": 1 - value, "intervals": {"wer": ends}}


METRICS: dict[str, Any] = {
    "scratch": {
        **words(0.389), "perplexity": 1.5, "n": 6315, "groups": 6315,
        "baselines": {"copy": words(0.98), "letter_context": words(0.377)},
    },
    "finetune": {
        "before": scores(0.468), "after": scores(0.779), "n": 2085, "groups": 171,
        "delta": {
            "accuracy": {"value": 0.311, "low": 0.25, "high": 0.37},
            "macro_f1": {"value": 0.3, "low": 0.2, "high": 0.4},
        },
        "mcnemar": {"p_value": 1e-30}, "permutation": {"p_value": 0.0123},
        "baselines": {"majority": scores(0.02), "tfidf": scores(0.7), "probe": scores(0.742)},
        "prompt": "{label}",
    },
    "method": {"confidence": 0.95, "resamples": 2000},
}  # fmt: skip


def test_the_tables_name_numbers_intervals_n_and_method() -> None:
    text = render(METRICS)
    assert "| letters by their context (IGTree) | 37.7 % [36.7, 38.7] |" in text
    assert "| **Transformer from scratch** | 38.9 % [37.9, 39.9] |" in text
    assert "2,085 test rows in 171 groups" in text
    assert "95% bootstrap intervals (2,000 resamples" in text
    assert "accuracy +31.1 points [+25.0, +37.0]" in text
    assert "McNemar's test p < 0.0001" in text and "p = 0.0123" in text


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
    assert len(rows) == 3 + 5 + 2
    assert rows["after - before, accuracy"] == "+31.1 points [+25.0, +37.0]"
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
    readme, metrics = ROOT / "README.md", ROOT / "reports" / "metrics.json"
    if not (readme.exists() and metrics.exists()):
        pytest.skip("needs README.md and the committed reports/metrics.json")
    text = readme.read_text(encoding="utf-8")
    assert replace_block(text, read_json(metrics)) == text, "run: scratchformer readme"
