"""The test split is scored in `evaluate` and nowhere else (invariant 6)."""

import ast
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scratchformer.params import Params

PACKAGE = Path(__file__).parents[2] / "src" / "scratchformer"
OPENERS = {"load_split", "iterate_split", "open_split"}
# prepare and tokenize make the split and treat its rows like all others; evaluate scores it.
STAGES = tuple(f"stages/{name}.py" for name in ("prepare", "tokenize", "evaluate"))
# A search runs these stages for a trial and deletes the split before the trial begins.
MAY_OPEN_IT = ("data/", "evaluation/", "search/runs/inputs.py", *STAGES)
CHOSEN_ON = {"train", "valid"}


def split_names(node: ast.expr, scope: ast.AST) -> set[str]:
    """The values that the split's argument can take; "?" for what cannot be told."""
    if isinstance(node, ast.Constant):
        return {str(node.value)}
    if isinstance(node, ast.Name):
        found: set[str] = set()
        loops = (each for each in ast.walk(scope) if isinstance(each, ast.For | ast.comprehension))
        for loop in loops:
            named = isinstance(loop.target, ast.Name) and loop.target.id == node.id
            if named and isinstance(loop.iter, ast.Tuple):
                found |= {str(getattr(item, "value", "?")) for item in loop.iter.elts}
        return found or {"?"}
    return {"?"}


def offences(source: str) -> list[str]:
    """Calls that open a split which is not plainly train or valid, and named test files."""
    tree = ast.parse(source)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in OPENERS:
                arguments = [*node.args[1:2], *(k.value for k in node.keywords if k.arg == "split")]
                names = set().union(*(split_names(argument, tree) for argument in arguments))
                if not names or names - CHOSEN_ON:
                    found.append(f"line {node.lineno}: {name}({', '.join(sorted(names))})")
        elif isinstance(node, ast.Constant) and node.value in ("test.arrow", "test.parquet"):
            found.append(f"line {node.lineno}: {node.value}")
    return found


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if not path.relative_to(PACKAGE).as_posix().startswith(MAY_OPEN_IT)
    ],
    ids=lambda path: path.relative_to(PACKAGE).as_posix(),
)
def test_no_other_module_opens_it(path: Path) -> None:
    assert offences(path.read_text(encoding="utf-8")) == []


def test_an_opened_test_split_is_found() -> None:
    assert offences('table = open_split("scratch", "test")')
    assert offences('table = prepared.load_split("scratch", split="test")')
    assert offences('for s in ("train", "test"):\n    open_split("scratch", s)')
    assert offences("for s in SPLITS:\n    open_split('scratch', s)")
    assert offences('path = TOKENIZED / "scratch" / "test.arrow"')
    assert not offences('both = (open_split("scratch", s) for s in ("train", "valid"))')


class Silent:
    """Stands in for tracking: takes everything, keeps nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


def test_both_trainings_run_where_the_test_split_does_not_exist(
    workplace: Callable[[str, str], Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    from scratchformer.stages.finetune import finetune
    from scratchformer.stages.train_scratch import train_scratch

    monkeypatch.delenv("DVC_ROOT", raising=False)
    params = workplace("words", "classes")
    for track, model in (("scratch", "scratch"), ("finetune", "pretrained")):
        tokenizers = Path("models/tokenizers") / track
        tokenizers.mkdir(parents=True)
        for pattern in ("source.json", "target.json", "tokenizer*"):
            for file in Path("models", model).glob(pattern):
                shutil.copy(file, tokenizers)
    removed = [path for path in Path("data").rglob("test.*") if path.unlink() is None]
    assert len(removed) == 4
    shrunk: dict[str, Any] = {
        "train_scratch": params.train_scratch.model_copy(
            update={"max_steps": 4, "validate_every": 2, "warmup_steps": 1, "decode_samples": 8}
        ),
        "finetune": params.finetune.model_copy(update={"epochs": 1, "frozen_layers": 0}),
    }
    params = params.model_copy(update=shrunk)
    shutil.rmtree("models/scratch")
    shutil.rmtree("models/finetuned")
    train_scratch(params, Silent())  # type: ignore[arg-type]
    finetune(params, Silent())  # type: ignore[arg-type]
    assert Path("models/scratch/model.safetensors").exists()
    assert Path("models/finetuned/model.safetensors").exists()
