"""The record of each track agrees with dvc.yaml."""

from pathlib import Path

from scratchformer.base.layout import STAGES, TRACKS
from scratchformer.record.dvc_record import paths_of, read_stages

ROOT = Path(__file__).parents[2]


def test_a_track_names_the_stage_that_makes_its_model_and_history() -> None:
    stages = read_stages(ROOT / "dvc.yaml")
    for name, track in TRACKS.items():
        assert track.name == name and track.stage in STAGES
        assert {track.model, track.history} <= set(paths_of(stages[track.stage], "outs"))
