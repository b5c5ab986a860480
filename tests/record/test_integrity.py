"""`verify` finds every kind of damage, names the file, and calls nothing else damage."""

import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from scratchformer.base.errors import DataError
from scratchformer.record.dvc_record import (
    cache_folder,
    dvc_hash,
    flatten,
    object_path,
    parse_stages,
    select_params,
)
from scratchformer.record.integrity import verify_record

PIPELINE = """
stages:
  train:
    cmd: "true"
    deps: [data, code.py]
    outs: [model, {metrics.json: {cache: false}}, rows.jsonl]
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose outputs, cache and dvc.lock agree."""
    for name, text in {
        "dvc.yaml": PIPELINE, "code.py": "1", "data/x": "x", "model/config.json": "{}",
        "model/deep/weights": "w" * 5000, "metrics.json": "{}", "rows.jsonl": "{}\n",
    }.items():  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    cache = cache_folder(tmp_path)

    def store(path: Path) -> str:
        digest = dvc_hash(path)
        target = object_path(cache, digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
            entries = [
                {"md5": store(file), "relpath": file.relative_to(path).as_posix()} for file in files
            ]
            target.write_text(json.dumps(entries, sort_keys=True))
        else:
            shutil.copyfile(path, target)
        return digest

    outs = [{"path": "model", "md5": store(tmp_path / "model"), "nfiles": 2},
            {"path": "metrics.json", "md5": dvc_hash(tmp_path / "metrics.json")},
            {"path": "rows.jsonl", "md5": store(tmp_path / "rows.jsonl")}]  # fmt: skip
    deps = [{"path": name, "md5": dvc_hash(tmp_path / name)} for name in ("data", "code.py")]
    with (tmp_path / "dvc.lock").open("w") as file:
        YAML().dump({"schema": "2.0", "stages": {"train": {"deps": deps, "outs": outs}}}, file)
    return tmp_path


def flip(path: Path, byte: int) -> None:
    """Change one bit of one byte and nothing that a directory listing shows."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[byte] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_is_sound_is_called_sound(checkout: Path) -> None:
    report = verify_record(checkout)
    assert (report.damaged, report.edited) == ([], [])
    # In the workspace 2 + 1 + 1; in the cache a listing, 2 + 1 (metrics.json is in Git).
    assert report.files == 8


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", ["model/config.json", "model/deep/weights", "rows.jsonl"])
def test_one_flipped_bit_in_the_workspace(checkout: Path, name: str, seed: int) -> None:
    path = checkout / name
    flip(path, random.Random(seed).randrange(path.stat().st_size))
    (line,) = verify_record(checkout).damaged
    assert line.startswith(name.partition("/")[0] + ": content differs from dvc.lock")


@pytest.mark.parametrize("seed", range(8))
def test_one_flipped_bit_in_every_object_of_the_cache(checkout: Path, seed: int) -> None:
    cache = cache_folder(checkout)
    objects = [path for path in cache.rglob("*") if path.is_file()]
    assert len(objects) == 4 - (dvc_hash(checkout / "rows.jsonl") == dvc_hash(checkout / "model"))
    for path in objects:
        byte = random.Random(seed).randrange(path.stat().st_size)
        flip(path, byte)
        report = verify_record(checkout)
        assert any(str(path) in line and "is damaged" in line for line in report.damaged)
        flip(path, byte)
    assert verify_record(checkout).damaged == []


def test_what_is_missing(checkout: Path) -> None:
    weights = object_path(cache_folder(checkout), dvc_hash(checkout / "model/deep/weights"))
    weights.unlink()
    (checkout / "rows.jsonl").unlink()
    in_git = checkout / "metrics.json"
    subprocess.run(["git", "init", "--quiet"], cwd=checkout, check=True)
    subprocess.run(["git", "add", "metrics.json"], cwd=checkout, check=True)
    in_git.unlink()
    report = verify_record(checkout)
    of_git, gone, rows = sorted(report.damaged)
    assert of_git == "metrics.json: missing; `git restore metrics.json` brings it back"
    assert rows == "rows.jsonl: missing; `dvc checkout` brings it back"
    assert gone.startswith("model/deep/weights: not in DVC's cache")
    assert report.not_made == []
    (checkout / "dvc.lock").unlink()
    with pytest.raises(DataError, match="nothing is recorded yet"):
        verify_record(checkout)


def test_a_new_clone_has_nothing_that_could_be_damaged(checkout: Path) -> None:
    """dvc.lock came with Git; what it names lies neither in the workspace nor in the cache."""
    shutil.rmtree(cache_folder(checkout))
    shutil.rmtree(checkout / "model")
    for name in ("metrics.json", "rows.jsonl"):
        (checkout / name).unlink()
    report = verify_record(checkout)
    assert (report.files, report.damaged, report.edited) == (0, [], [])
    assert report.not_made == ["model", "metrics.json", "rows.jsonl"]
    # Damage beside it is still told: a file that is there, but is another.
    (checkout / "rows.jsonl").write_text("another")
    report = verify_record(checkout)
    assert report.not_made == ["model", "metrics.json"]
    assert [line.partition(":")[0] for line in report.damaged] == ["rows.jsonl", "rows.jsonl"]


def test_an_edited_dependency_is_no_damage(checkout: Path) -> None:
    (checkout / "code.py").write_text("2")
    (checkout / "model" / "__pycache__").mkdir()
    report = verify_record(checkout)
    assert report.damaged == []
    assert report.edited == ["code.py: changed since train ran (no damage)"]


@pytest.mark.parametrize("level", ["repo", "local", "global", "system"])
def test_a_cache_elsewhere(checkout: Path, monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    """Wherever `dvc config` writes it: .dvc/config, .dvc/config.local, or for all repositories."""
    cache = cache_folder(checkout).rename(checkout / "elsewhere")
    for name in ("global", "system"):
        monkeypatch.setenv(f"DVC_{name.upper()}_CONFIG_DIR", str(checkout / f"etc-{name}"))
    folder = checkout / (".dvc" if level in ("repo", "local") else f"etc-{level}")
    folder.mkdir(exist_ok=True)
    file = folder / ("config.local" if level == "local" else "config")
    # A relative path counts from the folder of the file that says it.
    file.write_text("[cache]\n    dir = ../elsewhere\n")
    assert cache_folder(checkout) == cache
    report = verify_record(checkout)
    assert (report.files, report.damaged) == (8, [])


def test_a_configuration_that_dvc_cannot_read(checkout: Path) -> None:
    (checkout / ".dvc" / "config").write_text("[cache\n")
    with pytest.raises(DataError, match="DVC's config file error"):
        cache_folder(checkout)


def test_a_dvc_lock_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_text("stages: [\n")
    with pytest.raises(DataError, match="not a file that DVC wrote"):
        verify_record(tmp_path)
    with pytest.raises(DataError, match="not a file that DVC wrote"):
        parse_stages(b"- 1\n", "dvc.yaml")


def test_parameters_of_a_stage() -> None:
    values = {"run": {"seed": 1, "threads": 2}, "train": {"a": {"b": [1, 2]}}, "trainer": {"x": 1}}
    assert dict(flatten(values)) == {
        "run.seed": 1, "run.threads": 2, "train.a.b": [1, 2], "trainer.x": 1,
    }  # fmt: skip
    assert select_params({"params": ["run.seed", "train"]}, values) == {
        "run.seed": 1, "train.a.b": [1, 2],
    }  # fmt: skip
    assert select_params({}, values) == {}
