"""A copy of the project in which the whole pipeline runs once with the preset `tiny`."""

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.committed import DEFAULT_PARAMS

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Checkout:
    """A Git and DVC repository of its own, with the project's files as they are now."""

    path: Path
    seconds: float = 0.0

    def run(
        self, *command: str, check: bool = True, **changes: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the checkout with its own code, and without any network; `changes` are
        made to the environment."""
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("DVC_")},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.path / "src"),
            # Port 9 (discard) is closed: whoever reaches for a hub fails at once.
            "HTTP_PROXY": "http://127.0.0.1:9",
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "NO_PROXY": "",
            **changes,
        }
        done = subprocess.run(
            command, cwd=self.path, env=environment, check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        if check and done.returncode:
            pytest.fail(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-6000:]}")
        return done


def make_checkout(folder: Path) -> Checkout:
    """Copy what Git tracks or would track, so that uncommitted work is tested too; but with the
    default parameters, and without data that a person has added."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source = ROOT / name
        if source.is_file() and source.suffix != ".dvc":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name)
    shutil.copyfile(DEFAULT_PARAMS, folder / "params.yaml")
    (folder / "dvc.lock").unlink(missing_ok=True)
    checkout = Checkout(folder)
    checkout.run("git", "init", "--quiet", "--initial-branch=main")
    checkout.run("git", "config", "user.name", "Test")
    checkout.run("git", "config", "user.email", "test@example.org")
    checkout.run("git", "add", "--all")
    checkout.run("git", "commit", "--quiet", "--message", "Start")
    return checkout


def make_tiny(checkout: Checkout) -> None:
    """Merge the preset `tiny`. One thread, because two that share a busy core wait for each other;
    and no mirror: tests/tracking/test_pipeline.py runs stages with theirs under DVC."""
    checkout.run("scratchformer", "preset", "tiny")
    path = checkout.path / "params.yaml"
    text = path.read_text(encoding="utf-8")
    for key, old, new in ("threads", "2", "1"), ("enabled", "true", "false"):
        text, found = re.subn(rf"(?m)^(  {key}:) {old}\b", rf"\1 {new}", text)
        assert found == 1, key
    path.write_text(text, encoding="utf-8")


@pytest.fixture(scope="session")
def tiny_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The pipeline after one `dvc repro` of the preset `tiny`, committed."""
    checkout = make_checkout(tmp_path_factory.mktemp("pipeline") / "checkout")
    make_tiny(checkout)
    start = time.monotonic()
    checkout.run("dvc", "repro")
    seconds = time.monotonic() - start
    checkout.run("git", "add", "--all")
    checkout.run("git", "commit", "--quiet", "--message", "Run the tiny pipeline")
    return Checkout(checkout.path, seconds)
