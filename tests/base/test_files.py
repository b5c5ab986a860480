"""Files are complete or absent, also when the process is killed in the middle."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scratchformer.base.files import read_json, sha256, write_json, write_whole, write_whole_folder


def test_a_file_appears_at_once_and_with_usual_rights(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    with write_whole(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_an_error_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), write_whole(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_replaces_another_one_completely(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for name in ("a", "b"):
        with write_whole_folder(path) as temporary:
            (temporary / name).write_text(name)
        assert [file.name for file in path.iterdir()] == [name]
    with pytest.raises(RuntimeError), write_whole_folder(path) as temporary:
        (temporary / "c").write_text("half")
        raise RuntimeError
    assert [file.name for file in path.iterdir()] == ["b"]
    assert list(tmp_path.iterdir()) == [path]
    plain = tmp_path / "plain"
    plain.mkdir()
    assert path.stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("writer", ["write_whole", "write_whole_folder"])
def test_what_a_kill_leaves_is_swept_by_the_next_write(tmp_path: Path, writer: str) -> None:
    path = tmp_path / "output"
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        f"from scratchformer.base.files import {writer}\n"
        f"with {writer}(Path(sys.argv[1])) as temporary:\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    left = list(tmp_path.iterdir())
    assert len(left) == 1 and left[0] != path
    other = tmp_path / f".output.{os.getpid()}-living"  # another thread of ours is writing this
    other.touch()
    stranger = tmp_path / ".output.backup"
    stranger.touch()
    with write_whole(path) as temporary:
        temporary.write_text("whole")
    assert set(tmp_path.iterdir()) == {path, other, stranger}


def test_json_is_stable_strict_and_utf8(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"b": 1.5, "a": "ü"})
    assert path.read_bytes() == '{\n  "b": 1.5,\n  "a": "ü"\n}\n'.encode()
    assert read_json(path) == {"b": 1.5, "a": "ü"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"loss": float("nan")})
    assert json.loads(path.read_text()) == {"b": 1.5, "a": "ü"}


def test_sha256_of_a_known_text(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
