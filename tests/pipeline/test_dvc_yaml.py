"""dvc.yaml, params.yaml, .gitignore, the Makefile and the code say the same."""

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from ruamel.yaml import YAML
from tests.committed import DEFAULT_PARAMS, committed

from scratchformer.base.layout import STAGES
from scratchformer.base.mappings import flatten
from scratchformer.base.measures import MEASURES
from scratchformer.params import Params, Section

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


# What cannot change a byte of an output: errors and words, the terminal, MLflow, the reading of
# dvc.yaml, what a name in a registry is looked up with, where checkpoints lie, the number of
# processes (DVC starts one). Of `params`, the values count, see `defaults_read_by`.
WITHOUT_EFFECT = (
    "base.choices", "base.errors", "base.phases", "base.registry", "base.terminal",
    "base.workspace", "explanation", "params", "record.dvc_record", "stages.runner", "tracking",
)  # fmt: skip
SOURCE = ROOT / "src"
MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (SOURCE / "scratchformer").rglob("*.py")
}


def imported_modules(source: str) -> set[str]:
    """The modules of the project that a file imports, at its head or inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names & set(MODULES)


def has_no_effect(module: str) -> bool:
    name = module.removeprefix("scratchformer.")
    return any(name == each or name.startswith(f"{each}.") for each in WITHOUT_EFFECT)


def code_that_runs(stage: str) -> set[str]:
    """Files of the project that the stage's file imports, directly or through others.

    A folder whose `__init__` is imported counts as that file.
    """
    seen: set[str] = set()
    waiting = [f"scratchformer.stages.{stage}"]
    while waiting:
        module = waiting.pop()
        if module not in seen and not has_no_effect(module):
            seen.add(module)
            waiting += imported_modules(MODULES[module].read_text(encoding="utf-8"))
    return {
        MODULES[module].relative_to(ROOT).as_posix()
        for module in seen
        if MODULES[module].name != "__init__.py"
    }


def test_both_ways_to_import_are_followed() -> None:
    text = "import scratchformer.base.files\ndef f():\n  from scratchformer.base import tasks"
    found = {"scratchformer.base", "scratchformer.base.files", "scratchformer.base.tasks"}
    assert imported_modules(text) == found
    assert has_no_effect("scratchformer.base.errors") and has_no_effect("scratchformer.tracking.x")
    assert not has_no_effect("scratchformer.base.files")


def sections_below(annotation: Any) -> Iterator[type[Section]]:
    """The sections that a type of the schema holds, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
        for field in annotation.model_fields.values():
            yield from sections_below(field.annotation)
    for part in get_args(annotation):
        yield from sections_below(part)


def defaults_read_by(stage: str) -> set[str]:
    """Files of `params` with the defaults of sections that dvc.yaml lets the stage read.

    DVC compares what stands in params.yaml. What may be missing there has its value in the code.
    """
    files = set()
    for name in PIPELINE[stage]["params"]:
        annotation: Any = Params
        for part in name.split("."):
            annotation = annotation.model_fields[part].annotation
        for section in sections_below(annotation):
            if not all(field.is_required() for field in section.model_fields.values()):
                path = MODULES[section.__module__]
                assert path.name != "schema.py", f"{section.__name__}: a default, see schema.py"
                files.add(path.relative_to(ROOT).as_posix())
    return files


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_that_it_runs_and_on_no_other(stage: str) -> None:
    listed = {path for path in PIPELINE[stage]["deps"] if path.startswith("src/")}
    runs = code_that_runs(stage) | defaults_read_by(stage)

    def covers(dependency: str, path: str) -> bool:
        return path == dependency or path.startswith(f"{dependency}/")

    missing = {path for path in runs if not any(covers(listing, path) for listing in listed)}
    packages = {path for path in listed if (ROOT / path / "__init__.py").is_file()}
    idle = {path for path in listed - packages if not any(covers(path, ran) for ran in runs)}
    assert (missing, idle) == (set(), set())


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


def test_a_plot_shows_columns_that_the_trainings_write() -> None:
    from scratchformer.monitoring.throughput import COLUMNS

    drawn = {
        column
        for plot in load("dvc.yaml")["plots"]
        if isinstance(plot, dict)
        for options in plot.values()
        for path, columns in options["y"].items()
        if path.endswith("speed.csv")
        for column in columns
    }
    assert drawn == {"padding", "matrix_product_share"} and drawn <= set(COLUMNS)


def test_pictures_among_the_plots_are_kept_in_git() -> None:
    """`dvc exp run train_scratch` adds every plot to Git. One that lies in a cached folder is not
    there in a clone that never made it: the experiment then fails, after the training."""
    pictures = [plot for plot in load("dvc.yaml")["plots"] if isinstance(plot, str)]
    assert pictures == ["reports/plots"] and not outs_of(PIPELINE["visualize"])[pictures[0]]
    ignored = subprocess.run(["git", "check-ignore", "-q", *pictures], cwd=ROOT, check=False)
    assert ignored.returncode == 1


def test_compiled_code_is_no_dependency() -> None:
    """Python compiles the code of a stage beside it, with the time of the source inside. Counted
    as a dependency, it would make every clone train again."""
    compiled = "src/scratchformer/training/__pycache__/loop.cpython-311.pyc"
    command = [sys.executable, "-m", "dvc", "check-ignore", compiled]
    asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (asked.returncode, asked.stdout.strip()) == (0, compiled)


def patterns_of(pattern: str) -> Iterator[str]:
    """Every `a|b`, also those in brackets, as a pattern of its own."""
    for part in re.split(r"\|(?![^(]*\))", pattern):
        head, bracket, rest = part.partition("(")
        inside, _, tail = rest.partition(")")
        if bracket and not inside.startswith("?"):
            yield from (f"{head}{each}{tail}" for each in inside.split("|"))
        else:
            yield part


def test_patterns_are_taken_apart() -> None:
    found = list(patterns_of(r"a\.(?!b)|a\.(c|d$)e|.*/"))
    assert found == [r"a\.(?!b)", r"a\.ce", r"a\.d$e", ".*/"]


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_experiments_are_shown_by_their_validation_scores_and_parameters() -> None:
    """Whoever chose by the test split would report luck, see README."""
    asked = subprocess.run(
        ["make", "--dry-run", "experiments"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    (line,) = (line for line in asked.stdout.splitlines() if line.startswith("dvc exp show"))
    hidden = shlex.split(line)[-1]
    scores = [name for name, _ in flatten(json.loads(committed("reports/metrics.json")))]
    # DVC matches from the start of a name.
    assert [name for name in scores if not re.match(hidden, name)] == [
        "scratch.valid.wer", "scratch.valid.per",
        "finetune.valid.after.accuracy", "finetune.valid.after.macro_f1",
    ]  # fmt: skip
    for system in ("scratch.valid", "finetune.valid.after"):  # whatever their tasks are
        unseen = {measure for measure in MEASURES if re.match(hidden, f"{system}.{measure}")}
        assert unseen == {"exact_match", "token_accuracy", "loss", "perplexity", "ece"}
    values = YAML(typ="safe").load(DEFAULT_PARAMS.read_text(encoding="utf-8"))
    assert [name for name, _ in flatten(values) if re.match(hidden, name)] == []
    # What no longer is called so would come back as a column: no pattern is in vain. The default
    # run has no scores of rows that are independent, and none of a fine-tuned translation.
    names = [*scores, "finetune.mcnemar.p_value", "finetune.output"]
    names += ["data/prepared", "State", "Executor"]  # columns of DVC itself
    for pattern in patterns_of(hidden):
        assert any(re.match(pattern, name) for name in names), pattern
