"""Seed each bug of gate_bugs.toml into a copy of the package and see which gates turn red.

Writes JSON: bug → gate → [state, what was found]; the untouched package has the name "".
Each bug gets a process of its own, forked from one that has the libraries loaded already.

    python tests/training/gates/gate_matrix.py OUTPUT.json [NAME OF A BUG...]
"""

import importlib.util
import json
import os
import sys
import tempfile
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

# Loaded once, before the processes part; AdamW imports the last one, in 2 s.
import numpy  # noqa: F401
import pyarrow  # noqa: F401
import pydantic  # noqa: F401
import pytest  # noqa: F401
import rapidfuzz.distance  # noqa: F401
import torch
import torch._dynamo

HERE = Path(__file__).parent
BUGS = tomllib.loads((HERE / "gate_bugs.toml").read_text(encoding="utf-8"))["bug"]


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outcomes_of(package_parent: Path | None) -> dict[str, tuple[str, str]]:
    """The gates of the package in this folder, on the tiny training of conftest.py."""
    if package_parent is not None:
        sys.path.insert(0, str(package_parent))
    sys.path.append(str(HERE.parents[2]))  # conftest.py imports from `tests`
    tiny = load(HERE.parent / "conftest.py")
    from scratchformer import training
    from scratchformer.data.tokenized.batches import TokenBatches
    from scratchformer.training.build import build_objective
    from scratchformer.training.gates import run_gates

    assert package_parent is None or package_parent in Path(training.__file__).parents
    settings = tiny.make_settings()
    train = TokenBatches(tiny.make_copy_table(60), settings.batch_tokens, 1)
    valid = TokenBatches(tiny.make_copy_table(12, seed=9), settings.batch_tokens, 1)
    objective = build_objective(settings, tiny.INFO, valid, 1)
    outcomes, _ = run_gates(objective, train, settings, 1)
    return {name: (outcome.state, outcome.found) for name, outcome in outcomes.items()}


def in_a_process(package_parent: Path | None) -> Any:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        with os.fdopen(write, "w") as pipe:
            json.dump(outcomes_of(package_parent), pipe)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    assert os.waitpid(child, 0)[1] == 0, "see the traceback above"
    return json.loads(text)


def main(output: Path, names: list[str]) -> None:
    os.environ.setdefault("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    seed = load(HERE.parents[1] / "transformer" / "book" / "mutate.py").seed
    torch.set_num_threads(1)
    results = {"": in_a_process(None)}
    for bug in BUGS:
        if names and bug["name"] not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            seed(bug, Path(folder), room="")
            results[bug["name"]] = in_a_process(Path(folder))
    output.write_text(json.dumps(results, ensure_ascii=False, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
