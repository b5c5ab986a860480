"""Several processes make the updates of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from safetensors.torch import load_file

from scratchformer.base.files import read_json

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "accumulate": 3, "max_steps": 12, "model__dropout": 0.2, "diagnose_every": 5,
    # The gradient of a bias of keys is 0 but for rounding, which a smaller epsilon would blow up.
    "optimizer": {"epsilon": 1e-4},
}  # fmt: skip
CURVES = ("train", "valid", "diagnostics")


def curve(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / "checkpoints/history" / f"{name}.csv")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same training in 1, 2 and 3 processes; and one that began in 2, and ended in 1."""
    folder = tmp_path_factory.mktemp("ranks")
    jobs = [
        {"folder": str(folder / str(processes)), "processes": processes, "settings": SETTINGS}
        for processes in (1, 2, 3)
    ]
    moved = {**jobs[0], "folder": str(folder / "moved")}
    jobs += [{**moved, "processes": 2, "stop_after": 6}, moved]
    (folder / "job.json").write_text(json.dumps(jobs))
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("train_in_ranks.py"), folder / "job.json"],
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}, text=True, capture_output=True,
        timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("resuming after step 6 of 12") == 1
    return folder


@pytest.mark.parametrize("other", ["2", "3", "moved"])
def test_updates_are_those_of_one_process_but_for_rounding(trained: Path, other: str) -> None:
    one, several = (load_file(trained / name / "model/model.safetensors") for name in ("1", other))
    apart = max(float((one[name] - several[name]).abs().max()) for name in one)
    print(f"\nweights after 12 updates, 1 and {other}: largest difference {apart:.1e}")
    assert apart < 1e-5
    for name in CURVES:
        expected, found = curve(trained / "1", name), curve(trained / other, name)
        pd.testing.assert_frame_equal(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("processes", [2, 3])
def test_all_processes_end_with_the_same_bytes(trained: Path, processes: int) -> None:
    for name in ("weights-{}", "samples-{}.json"):
        paths = [trained / str(processes) / name.format(rank) for rank in range(processes)]
        assert len({path.read_text() for path in paths}) == 1
    decoded = read_json(trained / str(processes) / "samples-0.json")
    assert decoded == read_json(trained / "1/samples-0.json")
    assert all(decoded)  # nobody's part is missing
