"""The tests can fail: each classic bug of bugs.toml turns the tests named beside it red."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow  # begins early, so that no worker is left alone with it

HERE = Path(__file__).parent
BUGS = tomllib.loads((HERE / "bugs.toml").read_text(encoding="utf-8"))["bug"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Any:
    output = tmp_path_factory.mktemp("mutations") / "results.json"
    finished = subprocess.run(
        [sys.executable, HERE / "mutate.py", output], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return json.loads(output.read_text(encoding="utf-8"))


def test_untouched_code_is_green(results):
    named = {test for bug in BUGS for test in bug["tests"]}
    assert results["untouched"] == dict.fromkeys(named, "passed")


@pytest.mark.parametrize("bug", BUGS, ids=[bug["name"] for bug in BUGS])
def test_bug_turns_its_tests_red(results, bug):
    """All of them, while running: neither for want of a fixture nor by running out of time."""
    ends = results["bugs"][bug["name"]]
    assert ends.keys() == set(bug["tests"])
    for test, end in ends.items():
        assert end.startswith("failed in call:"), f"{test} {end}"
        assert "Timeout" not in end


def test_the_bugs_are_many_and_different():
    assert len(BUGS) >= 12
    assert len({(bug["file"], bug["old"], bug["new"]) for bug in BUGS}) == len(BUGS)
    assert len({bug["name"] for bug in BUGS}) == len(BUGS)
