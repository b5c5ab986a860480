"""Stage prepare: raw sources → data/prepared/<track>/, reports/{data.json,rejected.jsonl}."""

from typing import TYPE_CHECKING, Any

from scratchformer.layout import DATA_REPORT, PREPARED, REJECTED_ROWS, Track
from scratchformer.params import Params
from scratchformer.terminal import Summary

if TYPE_CHECKING:
    from scratchformer.tracking import StageRun

TRACKS: tuple[Track, ...] = ("scratch", "finetune")


def prepare(params: Params, run: "StageRun") -> Summary:
    """Check, deduplicate and split the rows of both tracks.

    The folder of the prepared data appears at once and only if both tracks are good. The list of
    rejected rows is written in any case: a stage that fails on bad rows names them there.
    """
    from scratchformer.data.preparation import prepare_track
    from scratchformer.errors import DataError
    from scratchformer.files import write_json, write_whole, write_whole_folder

    report: dict[str, Any] = {}
    failure: DataError | None = None
    with write_whole_folder(PREPARED) as folder:
        with write_whole(REJECTED_ROWS) as path, path.open("w", encoding="utf-8") as rejected:
            for name in TRACKS:
                track = getattr(params.prepare, name)
                limit = params.prepare.max_bad_share
                try:
                    report[name] = prepare_track(
                        name, track, params.run, limit, folder / name, rejected
                    )
                except DataError as error:
                    failure = DataError(f"{name} track: {error}")
                    break
        if failure:
            raise failure
    write_json(DATA_REPORT, report)
    return Summary("prepare", [], [PREPARED, DATA_REPORT, REJECTED_ROWS])


if __name__ == "__main__":
    from scratchformer.stages.runner import run_stage

    run_stage(prepare)
