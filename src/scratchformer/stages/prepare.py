"""Stage prepare: raw sources → data/prepared/<track>/, reports/{data.json,rejected.jsonl}."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchformer.base.layout import (
    DATA_REPORT,
    PREPARED,
    REJECTED_ROWS,
    TRACKS,
    SplitName,
    TrackName,
)
from scratchformer.base.tasks import TASKS
from scratchformer.base.terminal import Summary, progress
from scratchformer.base.workspace import is_inside
from scratchformer.params import Params

if TYPE_CHECKING:
    from scratchformer.base.output_kind import Unit
    from scratchformer.tracking import StageRun

RAW = Path("data/raw")


def prepare(params: Params, run: "StageRun") -> Summary:
    """Check, deduplicate and split the rows of both tracks.

    The folder of the prepared data appears at once and only if both tracks are good. The list of
    rejected rows is written in any case: a stage that fails on bad rows names them there.
    """
    from scratchformer.base.files import write_json, write_whole_folder

    raw_files = list(_raw_files(params))
    for path in raw_files:
        run.log_input(path.name, path, "raw")
    with write_whole_folder(PREPARED) as folder:
        report = _prepare_tracks(params, folder)
    write_json(DATA_REPORT, report)
    for track in TRACKS:
        run.log_summary({track: _main_figures(report[track])})
        run.log_table(f"{track}-samples", _samples(track))
    run.log_artifact(DATA_REPORT)
    run.log_artifact(REJECTED_ROWS)
    return Summary(
        "prepare",
        [row for track in TRACKS for row in _describe(track, report[track])],
        [PREPARED, DATA_REPORT, REJECTED_ROWS],
        [*_remarks(report), *_not_aligned(report), *_unwatched(raw_files)],
    )


def _prepare_tracks(params: Params, folder: Path) -> dict[str, Any]:
    """Fill `folder`; a track that fails still leaves its rejected rows on record."""
    from scratchformer.base.errors import DataError
    from scratchformer.base.files import write_whole
    from scratchformer.data.preparation.prepare import prepare_track
    from scratchformer.data.sources import open_source

    report: dict[str, Any] = {}
    failure: DataError | None = None
    with (
        write_whole(REJECTED_ROWS) as path,
        path.open("w", encoding="utf-8") as rejected,
        progress("prepare", len(TRACKS)) as bar,
    ):
        for track in TRACKS:
            settings = getattr(params.prepare, track)
            limit = params.prepare.max_bad_share
            bar.advance(0, track=track)
            try:
                corpus = open_source(settings, params.run.seed)
                report[track] = prepare_track(
                    track, settings, corpus, params.run.seed, limit, folder / track, rejected,
                    on_rows=lambda rows: bar.advance(0, rows=f"{rows:,}"),
                )
            except DataError as error:
                failure = DataError(f"{track} track: {error}")
                break
            bar.advance()
    if failure:
        raise failure
    return report


def _raw_files(params: Params) -> Iterator[Path]:
    for track in TRACKS:
        source = getattr(params.prepare, track).source
        if source.kind == "files":
            for split in ("train", "valid", "test"):
                for name in (getattr(source, split), getattr(source, f"{split}_target")):
                    if name and Path(name).is_file():
                        yield Path(name)


def _main_figures(report: Mapping[str, Any]) -> dict[str, Any]:
    """What MLflow keeps of a track's part of data.json; the whole of it is an artifact."""
    rows = {split: figures["rows"] for split, figures in report["splits"].items()}
    return {
        "rows": rows,
        "read": report["rows_read"],
        "rejected": report["rows_rejected"],
        "dropped": report["rows_dropped"],
        "coverage": report["coverage"],
    }


def _samples(track: TrackName, count: int = 5) -> list[dict[str, Any]]:
    """The first rows of each split, lists joined."""
    from scratchformer.data.preparation.prepared import iterate_split

    return [
        {"split": split}
        | {name: " | ".join(v) if isinstance(v, list) else v for name, v in row.items()}
        for split in ("train", "valid", "test")
        for row in next(iterate_split(track, split, count)).to_pylist()
    ]


def _describe(track: TrackName, report: Mapping[str, Any]) -> list[tuple[str, str]]:
    splits = report["splits"]
    dropped = report["rows_dropped"]
    return [
        (track, f"{report['name']}, {report['task']}"),
        ("  rows read", f"{report['rows_read']:,} ({report['rows_rejected']:,} rejected)"),
        ("  train, valid, test", ", ".join(f"{figures['rows']:,}" for figures in splits.values())),
        (
            "  duplicates",
            f"{dropped['duplicates']:,} dropped, {dropped['merged']:,} merged, "
            f"{dropped['across_splits']:,} across splits",
        ),
    ]


def _remarks(report: Mapping[str, Any]) -> Iterator[str]:
    """What a person should know before trusting the numbers."""
    for track, part in report.items():
        dropped = part["rows_dropped"]
        if part["rows_rejected"]:
            yield f"{track}: {part['rows_rejected']:,} rows rejected, listed in {REJECTED_ROWS}"
        if dropped["across_splits"]:
            yield (
                f"{track}: {dropped['across_splits']:,} rows were in two splits; test was kept "
                "before valid before train"
            )
        if dropped["conflicting_labels"]:
            yield (
                f"{track}: {dropped['conflicting_labels']:,} texts came again with another label; "
                "the first was kept"
            )
        if dropped["moved_to_train"]:
            yield (
                f"{track}: {dropped['moved_to_train']:,} rows of rare labels were moved to train, "
                "so that no label is first met in the test"
            )


def _not_aligned(report: Mapping[str, Any]) -> Iterator[str]:
    """What `evaluate` will leave out, known before hours of training.

    Its control for words lets a letter give a limited number of target units; targets that are all
    longer cannot be aligned with their sources.
    """
    from scratchformer.base.output_kind import MOST_EMITTED, output_kind, unit_of
    from scratchformer.data.preparation.prepared import iterate_split

    for track in TRACKS:
        if TASKS[report[track]["task"]].labelled:
            continue
        test = next(iterate_split(track, "test")).to_pydict()
        if output_kind(test["source"], test["targets"]) == "words":
            unit = unit_of(test["targets"])
            if not any(_aligns(row, unit) for row in _rows(track, "train")):
                yield (
                    f"{track}: every target is more than {MOST_EMITTED} times as long as its "
                    "source, so evaluate will leave out the control that goes letter by letter"
                )


def _aligns(row: Mapping[str, Any], unit: "Unit") -> bool:
    from scratchformer.base.output_kind import can_be_aligned, split_units

    return any(
        can_be_aligned(len(row["source"]), len(split_units(target, unit)))
        for target in row["targets"]
    )


def _rows(track: TrackName, split: SplitName) -> Iterator[Mapping[str, Any]]:
    from scratchformer.data.preparation.prepared import iterate_split

    for batch in iterate_split(track, split):
        yield from batch.to_pylist()


def _unwatched(files: list[Path]) -> Iterator[str]:
    """DVC follows data/raw; a file elsewhere can change without a rerun."""
    for path in files:
        if not is_inside(path, RAW):
            yield f"{path} is not in {RAW}/: DVC will not notice when it changes"


if __name__ == "__main__":
    from scratchformer.stages.runner import run_stage

    run_stage(prepare)
