"""A file that `dvc add` tracks goes where the project goes: a remote, a clone, an experiment."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIPELINE = """\
stages:
  prepare:
    cmd: cp data/raw/reviews.csv made.csv
    params: [run.seed]
    deps: [data/raw, models/pretrained]
    outs: [made.csv]
"""


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "Someone")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "someone@example.org")
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    for name in ("DVC_GLOBAL_CONFIG_DIR", "DVC_SITE_CACHE_DIR", "DVC_SYSTEM_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("DVC_ROOT", raising=False)


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.usefixtures("environment")
def test_dvc_add_reaches_remote_clone_and_experiment(tmp_path: Path) -> None:
    project, remote = tmp_path / "project", tmp_path / "remote"
    project.mkdir()
    run(project, "git", "init", "-q")
    run(project, "dvc", "init", "-q")
    shutil.copy(ROOT / ".gitignore", project)
    for folder in ("data/raw", "models/pretrained"):
        (project / folder).mkdir(parents=True)
        shutil.copy(ROOT / folder / "README.md", project / folder)
    (project / "dvc.yaml").write_text(PIPELINE)
    (project / "params.yaml").write_text("run: {seed: 1}\n")
    (project / "data/raw/reviews.csv").write_text("text,label\na,b\n")
    (project / "models/pretrained/tiny").mkdir()
    (project / "models/pretrained/tiny/config.json").write_text("{}")
    run(project, "dvc", "add", "-q", "data/raw/reviews.csv", "models/pretrained/tiny")
    run(project, "dvc", "remote", "add", "-q", "-d", "store", str(remote))
    run(project, "git", "add", "-A")
    run(project, "git", "commit", "-qm", "data")
    tracked = run(project, "git", "ls-files").split()
    assert {"data/raw/reviews.csv.dvc", "models/pretrained/tiny.dvc"} < set(tracked)
    assert not {"data/raw/reviews.csv", "models/pretrained/tiny/config.json"} & set(tracked)

    run(project, "dvc", "push", "-q")
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "-q", str(project), str(clone))
    run(clone, "dvc", "pull", "-q", "data/raw/reviews.csv", "models/pretrained/tiny")
    assert (clone / "data/raw/reviews.csv").read_text() == "text,label\na,b\n"
    assert (clone / "models/pretrained/tiny/config.json").read_text() == "{}"

    run(project, "dvc", "exp", "run", "--temp", "-n", "seeded", "-S", "run.seed=5", "prepare")
    references = run(project, "git", "for-each-ref", "--format=%(refname)", "refs/exps").split()
    (seeded,) = [each for each in references if each.endswith("/seeded")]
    assert "seed: 5" in run(project, "git", "show", f"{seeded}:params.yaml")
