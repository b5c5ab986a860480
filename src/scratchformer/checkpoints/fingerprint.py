"""What a training depends on, as flat facts, and the fingerprint of all of them.

A checkpoint belongs to exactly one fingerprint. Whatever changes the bytes of the result is a
fact: parameters, seed, threads, the input files, the code that trains, the version of torch.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel

from scratchformer.base.errors import DataError
from scratchformer.base.files import sha256
from scratchformer.base.mappings import flatten

Facts = dict[str, str | int | float | bool | None]

_PACKAGE = Path(__file__).resolve().parents[1]


def collect_facts(
    sections: Mapping[str, BaseModel],
    inputs: Iterable[Path],
    code: Iterable[str],
    libraries: Iterable[str] = ("torch",),
) -> Facts:
    """Everything the result depends on, one flat name for each fact.

    Args:
        sections: name in params.yaml → its values, e.g. {"run": params.run}.
        inputs: files, and folders whose files all count.
        code: files and folders relative to the package, e.g. "training".
        libraries: distributions whose version decides the bytes of the result.

    Raises:
        DataError: an input is not there.
    """
    facts: Facts = {}
    for name, section in sections.items():
        facts |= {f"{name}.{key}": value for key, value in flatten(section.model_dump())}
    for path in inputs:
        facts |= {file.as_posix(): sha256(file) for file in _files(path)}
    for name in code:
        for file in _files(_PACKAGE / name):
            if file.suffix == ".py":
                facts[f"code:{file.relative_to(_PACKAGE).as_posix()}"] = sha256(file)
    facts |= {f"version of {name}": version(name) for name in libraries}
    return facts


def fingerprint(facts: Facts) -> str:
    """16 hexadecimal digits that stand for all facts."""
    text = json.dumps(facts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differing(facts: Facts, others: Facts) -> list[str]:
    """Names of the facts that are not the same in both, sorted."""
    absent = object()
    return sorted(
        name
        for name in facts.keys() | others.keys()
        if facts.get(name, absent) != others.get(name, absent)
    )


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise DataError(f"{path} not found; make it with: dvc repro")
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
