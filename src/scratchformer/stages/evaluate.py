"""Stage evaluate: models and the test split → reports/metrics.json, reports/predictions/.

The only place where the test split is scored.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scratchformer.base.layout import METRICS, PREDICTIONS, TOKENIZED, TRACKS, TrackName
from scratchformer.base.terminal import Summary
from scratchformer.params import Params

if TYPE_CHECKING:
    from scratchformer.evaluation.tracks.report import TrackReport
    from scratchformer.tracking import StageRun


def evaluate(params: Params, run: "StageRun") -> Summary:
    """Score every system of both tracks on the same rows, with controls and intervals."""
    import torch

    from scratchformer.base.files import write_json
    from scratchformer.evaluation.tables.results_table import summary_rows
    from scratchformer.evaluation.tracks.finetune import evaluate_finetune
    from scratchformer.evaluation.tracks.report import TrackReport, rounded
    from scratchformer.evaluation.tracks.scratch import evaluate_scratch

    torch.set_num_threads(params.run.threads)
    for track in TRACKS:
        run.log_input(f"{track}-test", TOKENIZED / track / "test.arrow", "evaluation")
    reports: dict[TrackName, TrackReport] = {
        "scratch": evaluate_scratch(params),
        "finetune": evaluate_finetune(params),
    }

    settings = params.evaluate
    method = {"confidence": settings.confidence, "resamples": settings.bootstrap_resamples}
    metrics: dict[str, Any] = rounded(
        {**{track: report.metrics for track, report in reports.items()}, "method": method}
    )
    _write_predictions(reports)
    write_json(METRICS, metrics)

    run.log_summary(metrics)
    for track, report in reports.items():
        for name, records in report.tables.items():
            run.log_table(f"{track}-{name}", records)
    run.log_artifact(PREDICTIONS)
    warnings = [warning for report in reports.values() for warning in report.warnings]
    return Summary("evaluate", summary_rows(metrics), [METRICS, PREDICTIONS], warnings)


def _write_predictions(reports: "Mapping[TrackName, TrackReport]") -> None:
    """One Parquet file a system, one CSV file a table; the folder appears at once."""
    import pandas as pd
    import pyarrow.parquet as pq

    from scratchformer.base.files import write_whole_folder
    from scratchformer.evaluation.tables.csv_injection import inert

    with write_whole_folder(PREDICTIONS) as folder:
        for track, report in reports.items():
            for system, table in report.predictions.items():
                pq.write_table(table, folder / f"{track}-{system}.parquet")
            for name, records in report.tables.items():
                cells = pd.DataFrame(records).map(inert)
                cells.to_csv(folder / f"{track}-{name}.csv", index=False)


if __name__ == "__main__":
    from scratchformer.stages.runner import run_stage

    run_stage(evaluate)
