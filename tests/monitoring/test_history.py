"""Curves: rows of fixed columns, cut back to the byte, damage noticed."""

from pathlib import Path

import pytest

from scratchformer.checkpoints.disk import DiskFullError
from scratchformer.monitoring.history import History

COLUMNS = {"train": ("loss", "tokens"), "valid": ("loss",)}


@pytest.fixture
def history(tmp_path) -> History:
    made = History(tmp_path, COLUMNS)
    made.start()
    made.add("train", 1, {"loss": 1 / 3, "tokens": 12})
    return made


def test_rows_are_plain_csv(history):
    assert history.path("train").read_bytes() == b"step,loss,tokens\n1,0.3333333,12\n"
    assert history.path("valid").read_bytes() == b"step,loss\n"


def test_cut_back_and_written_again_gives_the_same_bytes(history, tmp_path):
    extents = history.extents()
    history.add("train", 2, {"loss": 0.25, "tokens": 24})
    history.add("valid", 2, {"loss": 0.5})
    whole = history.extents()
    resumed = History(tmp_path, COLUMNS)
    assert resumed.damage(extents) is None
    resumed.cut(extents)
    assert resumed.path("valid").read_bytes() == b"step,loss\n"
    resumed.add("train", 2, {"loss": 0.25, "tokens": 24})
    resumed.add("valid", 2, {"loss": 0.5})
    assert resumed.extents() == whole


def test_damage_before_the_cut_is_named(history, tmp_path):
    extents = history.extents()
    path = history.path("train")
    path.write_bytes(path.read_bytes().replace(b"0.33", b"0.34"))
    assert "train.csv has other bytes" in History(tmp_path, COLUMNS).damage(extents)
    path.write_bytes(path.read_bytes()[:-1])
    assert "train.csv is shorter" in History(tmp_path, COLUMNS).damage(extents)
    path.unlink()
    assert "train.csv is shorter" in History(tmp_path, COLUMNS).damage(extents)


def test_other_columns_are_refused(history):
    with pytest.raises(ValueError, match="columns"):
        history.add("train", 2, {"loss": 1.0})


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_is_one_clear_line(history):
    history.path("train").unlink()
    history.path("train").symlink_to("/dev/full")
    with pytest.raises(DiskFullError, match=r"train\.csv: no room to write 10 bytes"):
        history.add("train", 2, {"loss": 0.25, "tokens": 24})
