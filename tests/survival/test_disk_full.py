"""A disk that fills up while the outputs are written: one line, and what was there stays.

Checkpoints: tests/checkpoints/test_checkpoint.py. A limit on the size of files stands for the disk.
"""

import resource
import signal
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.committed import DEFAULT_PARAMS
from tests.training.conftest import curve_bytes, make_stage_folder

from scratchformer.checkpoints.checkpoint import Checkpoints
from scratchformer.checkpoints.disk import DiskFullError
from scratchformer.params import Pretrained, load_params
from scratchformer.pretrained.finetuning.finetuning import finetune
from scratchformer.pretrained.finetuning.tasks.classification import Classification
from scratchformer.pretrained.models.loading import load_classifier
from scratchformer.training.outputs import write_outputs

ROOT = Path(__file__).parents[2]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # or the first write ends the process
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_outputs_of_a_training(training, tmp_path):
    made = training(max_steps=4)
    made.run()
    make_stage_folder(tmp_path / "stage")
    tokenizers = tmp_path / "stage" / "models/tokenizers/scratch"
    model, history = tmp_path / "models/scratch", tmp_path / "history/scratch"
    write_outputs(made, tokenizers, [], model, history)
    before = {path: path.read_bytes() for path in model.iterdir()}
    weights = (model / "model.safetensors").stat().st_size
    for limit in (0, 100, weights // 2, weights - 1):
        with files_of_at_most(limit), pytest.raises(DiskFullError) as caught:
            write_outputs(made, tokenizers, [], model, history)
        told = str(caught.value)
        assert f"{model}: no room to write " in told and " bytes" in told and "\n" not in told
        assert {path: path.read_bytes() for path in model.iterdir()} == before
        assert [path.name for path in model.parent.iterdir()] == ["scratch"]


def test_a_row_of_the_curves_that_is_cut_off_is_written_again(training, tmp_path):
    """The disk fills up inside a row of train.csv; the resumed training ends with equal bytes."""
    whole = training(folder="whole", max_steps=12)
    whole.run()
    made = training(max_steps=12)
    add, rows = made.recorder.history.add, []

    def add_until_full(name, step, values):
        rows.append(name)
        path: Path = made.recorder.history.path(name)
        size = path.stat().st_size + 7 if len(rows) == 6 else 10**9
        with files_of_at_most(size):
            add(name, step, values)

    made.recorder.history.add = add_until_full
    with pytest.raises(DiskFullError, match=r"csv: no room to write \d+ bytes"):
        made.run()
    half = made.recorder.history.path(rows[-1]).read_text().splitlines()[-1]
    assert len(half) == 7
    training(max_steps=12).run()
    for name in ("train", "valid"):
        assert curve_bytes(made, name) == curve_bytes(whole, name)


@pytest.fixture
def no_space(monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**9, 10**9 - 999, 999))


def test_train_scratch_asks_for_room_before_its_gates_and_first_update(training, no_space):
    begun = []
    made = training({"before_first": lambda: begun.append("gates")}, folder="room")
    weights = sum(4 * p.numel() for p in made.parameters.values())
    with pytest.raises(DiskFullError) as caught:
        made.run()
    # Two checkpoints and one on its way; each of weights, the best of them, and two moments.
    assert f"room: checkpoints need {3 * 4 * weights:,} bytes, 999 are free" in str(caught.value)
    assert begun == [] and made.state.step == 0
    assert not list(made.checkpoints.folder.iterdir())


def test_finetune_asks_for_room_before_its_first_update(tmp_path, tiny_bert, rows, no_space):
    labels = ["first", "second", "third"]
    model = load_classifier(Pretrained(kind="folder", name=str(tiny_bert)), labels, 1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    task = Classification(model, rows.slice(0, 32), rows.slice(150))
    settings = load_params(DEFAULT_PARAMS).finetune
    with pytest.raises(DiskFullError, match=r"room: checkpoints need [\d,]+ bytes, 999 "):
        finetune(task, settings, 1, Checkpoints(tmp_path / "room"))
    assert not list((tmp_path / "room").iterdir())
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
