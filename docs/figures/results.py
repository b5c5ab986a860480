"""The picture of README: what fine-tuning changed, out of the committed reports/metrics.json."""

from pathlib import Path
from typing import Any

from scratchformer.visualization.chapter_results import results_chapter
from scratchformer.visualization.inputs import load_metrics
from scratchformer.visualization.report import Picture

METRICS = Path(__file__).resolve().parents[2] / "reports" / "metrics.json"


def draw() -> Any:
    """The report's own figure of the systems of the track finetune."""
    items = results_chapter(load_metrics(METRICS)).items
    (figure,) = (
        item.figure
        for item in items
        if isinstance(item, Picture) and item.name == "finetune-scores"
    )
    return figure
