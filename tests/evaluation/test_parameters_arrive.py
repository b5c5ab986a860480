"""Every key of the section `evaluate` reaches what it promises to change."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import scratchformer.transformer as book
from scratchformer.evaluation.significance.resampling import Resampling
from scratchformer.params import Params
from scratchformer.stages.evaluate import evaluate
from scratchformer.tracking import StageRun

CHANGES: dict[str, Any] = {  # no value is that of params.yaml or of the other tests
    "bootstrap_resamples": 120, "confidence": 0.9, "beam_size": 3, "batch_size": 7,
    "prompts": ["about {label}"],
}  # fmt: skip


@pytest.fixture
def seen(workplace: Callable[[str, str], Params], monkeypatch: pytest.MonkeyPatch) -> Any:
    """What one evaluation with `CHANGES` used and wrote."""
    params = workplace("words", "classes")
    used: dict[str, set[Any]] = {"resampling": set(), "beams": set(), "rows": set()}
    beam_search, drawn = book.beam_search, Resampling.drawn_counts

    def search(model: Any, source: Tensor, beam_size: int, max_length: int) -> Any:
        used["beams"].add(beam_size)
        used["rows"].add(len(source))
        return beam_search(model, source, beam_size, max_length)

    def draws(self: Resampling, groups: int) -> Any:
        counts = list(drawn(self, groups))
        used["resampling"].add((sum(map(len, counts)), round(self.tail, 6)))
        return iter(counts)

    monkeypatch.setattr(book, "beam_search", search)
    monkeypatch.setattr(Resampling, "drawn_counts", draws)
    evaluate(
        params.model_copy(update={"evaluate": params.evaluate.model_copy(update=CHANGES)}),
        StageRun(None),
    )
    return {**used, "metrics": json.loads(Path("reports/metrics.json").read_text())}


ARRIVES: dict[str, Callable[[dict[str, Any]], bool]] = {
    "evaluate.bootstrap_resamples": lambda seen: {n for n, _ in seen["resampling"]} == {120},
    "evaluate.confidence": lambda seen: {tail for _, tail in seen["resampling"]} == {0.05},
    "evaluate.beam_size": lambda seen: seen["beams"] == {3},
    "evaluate.batch_size": lambda seen: max(seen["rows"]) == 7,
    "evaluate.prompts": lambda seen: (
        seen["metrics"]["finetune"]["before"]["prompt"] == "about {label}"
    ),
}


def test_the_parameters_of_the_evaluation_arrive(seen: dict[str, Any]) -> None:
    """One evaluation, in which every key has a value of its own."""
    assert [key for key, arrived in ARRIVES.items() if not arrived(seen)] == []
