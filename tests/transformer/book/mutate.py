"""Seed every bug of bugs.toml into a copy of the package and run the tests that must notice.

Writes JSON: for each bug, how each of its tests ended; and the same for the untouched package.
Every bug gets a process of its own, forked from one that has the libraries loaded already, with
the mutated copy first on its path. Shape checks are off: the tests must notice by themselves.

    python tests/transformer/book/mutate.py OUTPUT.json
"""

import json
import os
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

os.environ["SHAPE_CHECKS"] = "off"
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"

# Loaded once, before the processes part; the last is what torch.nn's masks load when first used.
import jaxtyping  # noqa: F401
import pytest
import safetensors.torch  # noqa: F401
import torch
import torch.fx.experimental.symbolic_shapes
from hypothesis import Phase
from hypothesis import settings as hypothesis_settings

ROOT = Path(__file__).parents[3]
BUGS = tomllib.loads(Path(__file__).with_name("bugs.toml").read_text(encoding="utf-8"))["bug"]


class Outcomes:
    """A pytest plugin that notes how each test ended: "passed", or the error it failed with."""

    def __init__(self) -> None:
        self.ends: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.removeprefix("tests/transformer/")
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            message = crash.message if crash else str(report.longrepr)
            self.ends[name] = f"failed in {report.when}: {message[:200]}"
        elif report.when == "call":
            self.ends.setdefault(name, "passed")


def run_tests(package_parent: Path, tests: list[str]) -> dict[str, str]:
    """How the tests end in a process that imports the package from `package_parent`."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        sys.path.insert(0, str(package_parent))
        outcomes = Outcomes()
        arguments = [f"tests/transformer/{test}" for test in tests]
        pytest.main(["-p", "no:cacheprovider", "--tb=line", *arguments], [outcomes])
        import scratchformer.transformer

        origin = Path(scratchformer.transformer.__file__)
        assert package_parent in origin.parents, f"tested {origin}, not {package_parent}"
        with os.fdopen(write, "w") as pipe:
            json.dump(outcomes.ends, pipe)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else {}


def seed(bug: dict[str, str], package_parent: Path, room: str = "transformer") -> None:
    """Copy a room of the package ("": all) and put the bug in; its file is named from there.

    Raises ValueError if the old text is not unique.
    """
    shutil.copytree(
        ROOT / "src" / "scratchformer" / room,
        package_parent / "scratchformer" / room,  # with the bytecode: dates and sizes are kept
    )
    (package_parent / "scratchformer" / "__init__.py").touch()
    path = package_parent / "scratchformer" / room / bug["file"]
    text = path.read_text(encoding="utf-8")
    if text.count(bug["old"]) != 1:
        raise ValueError(f"{bug['name']}: {bug['file']} has {bug['old']!r} not exactly once")
    path.write_text(text.replace(bug["old"], bug["new"]), encoding="utf-8")
    for bytecode in path.parent.glob(f"__pycache__/{path.stem}.*"):
        bytecode.unlink()


def main(output: Path) -> None:
    os.chdir(ROOT)
    torch.set_num_threads(1)
    # The first failing example is enough: do not look for the smallest.
    hypothesis_settings.register_profile("first failure", phases=[Phase.generate])
    hypothesis_settings.load_profile("first failure")
    everything = sorted({test for bug in BUGS for test in bug["tests"]})
    results = {"untouched": run_tests(ROOT / "src", everything), "bugs": {}}
    for bug in BUGS:
        with tempfile.TemporaryDirectory() as folder:
            seed(bug, Path(folder))
            results["bugs"][bug["name"]] = run_tests(Path(folder), bug["tests"])
    output.write_text(json.dumps(results, indent=2, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
