"""Stage evaluate: models and the test split → reports/metrics.json, reports/predictions/,
models/calibration/.

The only place where the test split is scored.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scratchformer.base.layout import (
    CALIBRATION,
    METRICS,
    PREDICTIONS,
    TOKENIZED,
    TRACKS,
    TrackName,
)
from scratchformer.base.terminal import Summary
from scratchformer.params import Params

if TYPE_CHECKING:
    from scratchformer.evaluation.tracks.report import TrackReport
    from scratchformer.tracking import StageRun


def evaluate(params: Params, run: "StageRun") -> Summary:
    """Score every system of both tracks on the same rows, with controls and intervals.

    Several processes share the runs of the models. The first one does the rest alone.
    """
    from scratchformer.base.files import write_json, write_whole_folder
    from scratchformer.evaluation.tables.results_table import summary_rows
    from scratchformer.evaluation.tracks.evaluations import evaluate_track
    from scratchformer.evaluation.tracks.report import Settings, rounded
    from scratchformer.record.metrics import parse_metrics
    from scratchformer.runtime.device import open_machine
    from scratchformer.runtime.distributed import joined
    from scratchformer.runtime.processes import rank

    machine = open_machine(params.run.device, params.run.threads, params.run.precision)
    for track in TRACKS:
        run.log_input(f"{track}-test", TOKENIZED / track / "test.arrow", "evaluation")
    settings = Settings.of(params)
    with joined(), machine.autocast():
        makers = {track: evaluate_track(track, settings) for track in TRACKS}
    if rank():
        return Summary("evaluate", [], [])
    reports = {track: make() for track, make in makers.items()}

    values = rounded({name: report.metrics for name, report in reports.items()})
    values["method"] = settings.resampling.method()
    metrics = parse_metrics(values)
    _write_predictions(reports)
    with write_whole_folder(CALIBRATION) as folder:
        for track, report in reports.items():
            if report.calibration is not None:
                report.calibration.save(folder / f"{TRACKS[track].model.name}.json")
    write_json(METRICS, values)

    run.log_summary(values)
    for name, records in _named_tables(reports).items():
        run.log_table(name, records)
    run.log_artifact(PREDICTIONS)
    warnings = [warning for report in reports.values() for warning in report.warnings]
    rows = [*summary_rows(metrics), ("ran on", machine.describe())]
    return Summary("evaluate", rows, [METRICS, PREDICTIONS, CALIBRATION], warnings)


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
        for name, records in _named_tables(reports).items():
            pd.DataFrame(records).map(inert).to_csv(folder / f"{name}.csv", index=False)


def _named_tables(reports: "Mapping[TrackName, TrackReport]") -> dict[str, Any]:
    """`finetune-changes` → its records, and so on."""
    return {
        f"{track}-{name}": records
        for track, report in reports.items()
        for name, records in report.tables.items()
    }


if __name__ == "__main__":
    from scratchformer.stages.runner import Deal, run_stage

    # Two take 0.82 of the time of one with two threads (benchmarks/RESULTS.md); each loads all
    # models, so more are not taken unasked.
    run_stage(evaluate, Deal(on_cpu=2))
