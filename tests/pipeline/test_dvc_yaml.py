"""dvc.yaml, params.yaml, .gitignore and the code say the same."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from scratchformer.layout import STAGES

ROOT = Path(__file__).parents[2]
# `tracking` decides what is mirrored to MLflow, never what a stage produces.
READ_BY_NO_STAGE = {"tracking"}


def load(name: str) -> dict[str, Any]:
    return dict(YAML(typ="safe").load((ROOT / name).read_text(encoding="utf-8")))


PIPELINE = load("dvc.yaml")["stages"]
PARAMS = load("params.yaml")


def test_the_six_stages_in_order() -> None:
    assert tuple(PIPELINE) == STAGES
    assert all(stage["desc"] for stage in PIPELINE.values())


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_runs_its_own_file_and_depends_on_it(stage: str) -> None:
    assert PIPELINE[stage]["cmd"] == f"python -m scratchformer.stages.{stage}"
    assert f"src/scratchformer/stages/{stage}.py" in PIPELINE[stage]["deps"]


@pytest.mark.parametrize("stage", STAGES)
def test_code_dependencies_exist(stage: str) -> None:
    for path in PIPELINE[stage]["deps"]:
        if path.startswith("src/"):
            assert (ROOT / path).exists(), path


def test_every_parameter_is_read_by_a_stage_and_exists() -> None:
    read: set[str] = set()
    for stage in PIPELINE.values():
        for name in stage["params"]:
            node: Any = PARAMS
            for part in name.split("."):
                node = node[part]
            read.add(name.split(".")[0])
    assert read == set(PARAMS) - READ_BY_NO_STAGE


def outs_of(stage: dict[str, Any]) -> dict[str, bool]:
    """Path of every output, and whether DVC caches it."""
    outs = {}
    for out in stage["outs"]:
        if isinstance(out, str):
            outs[out] = True
        else:
            ((path, options),) = out.items()
            outs[path] = options.get("cache", True)
    return outs


def test_cached_outputs_are_ignored_by_git_and_the_others_are_not() -> None:
    """Without static entries, a failing stage rolls the entries of the stages before it back."""
    for stage in PIPELINE.values():
        for path, cached in outs_of(stage).items():
            code = subprocess.run(
                ["git", "check-ignore", "--quiet", "--no-index", path], cwd=ROOT, check=False
            ).returncode
            assert (code == 0) is cached, path


def test_trainings_have_cached_outputs_only() -> None:
    """One uncached output would make DVC train again instead of restoring from its run-cache."""
    for stage in ("train_scratch", "finetune"):
        assert all(outs_of(PIPELINE[stage]).values())
