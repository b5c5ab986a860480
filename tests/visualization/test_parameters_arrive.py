"""Every key of the section `visualize` reaches the page."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.visualization.conftest import TEXTS

from scratchformer.base.tasks import TaskName
from scratchformer.params import Params
from scratchformer.record.metrics import load_metrics
from scratchformer.visualization.report.page.items import Atlas, Picture, Table
from scratchformer.visualization.report.sections import sections

Page = dict[str, Any]
OWN = {"scratch": ["tictac"], "finetune": [TEXTS[0], TEXTS[1], TEXTS[2]]}


def points(page: Page) -> list[int]:
    """Of each panel of the map of the test rows."""
    axes = page["finetune-embeddings"].axes
    return [sum(len(each.get_offsets()) for each in one.collections) for one in axes]


ARRIVES: dict[str, Callable[[Page], bool]] = {
    # Two test rows each, and the user's own texts behind them.
    "visualize.attention_examples": lambda page: "finetune-attribution-2" in page,
    "visualize.texts.scratch": lambda page: page["scratch-atlas"][2:] == OWN["scratch"],
    "visualize.texts.finetune": lambda page: page["finetune-atlas"][2:5] == OWN["finetune"],
    "visualize.error_examples": lambda page: page["longest table"] == 1,
    "visualize.projection_points": lambda page: set(points(page)) == {4},
}


@pytest.fixture
def page(make_workspace: Callable[[TaskName], Params]) -> Page:
    """Everything on it by name: figures, titles of examples, rows of the tables of errors."""
    params = make_workspace("seq2seq")
    texts = params.visualize.texts.model_copy(update=OWN)
    changes = {
        "attention_examples": 2, "error_examples": 1, "projection_points": 4, "texts": texts,
    }  # fmt: skip
    visible = params.visualize.model_copy(update=changes)
    found: Page = {}
    tables: list[int] = []
    for section in sections(params.model_copy(update={"visualize": visible}), load_metrics()):
        for item in section.items:
            if isinstance(item, Picture):
                found[item.name] = item.figure
            elif isinstance(item, Atlas):
                found[item.name] = [example.title for example in item.examples]
            elif isinstance(item, Table) and section.key.startswith("errors"):
                counts_outcomes = "changed" in item.title
                tables += [] if counts_outcomes else [len(item.rows)]
    found["longest table"] = max(tables)
    return found


def test_the_parameters_of_the_page_arrive(page: Page) -> None:
    assert [key for key, arrived in ARRIVES.items() if not arrived(page)] == []
