"""What a training depends on, as flat facts, and the fingerprint of all of them.

A checkpoint belongs to exactly one fingerprint. Whatever changes the bytes of the result is a
fact: parameters, seed, threads, the input files, the code that trains, the version of torch. Which
code that is, dvc.yaml says: what a stage depends on there is what its checkpoints depend on here.
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
from scratchformer.record.dvc_record import paths_of, read_stages

Facts = dict[str, str | int | float | bool | None]

_PACKAGE = Path(__file__).resolve().parents[1]
_CODE = Path("src") / _PACKAGE.name  # the package, as dvc.yaml names it


def collect_facts(
    stage: str,
    sections: Mapping[str, BaseModel],
    inputs: Iterable[Path],
    libraries: Iterable[str] = ("torch",),
) -> Facts:
    """Everything the result depends on, one flat name for each fact.

    Args:
        stage: in dvc.yaml.
        sections: name in params.yaml → its values, e.g. {"run": params.run}.
        inputs: files, and folders whose files all count.
        libraries: distributions whose version decides the bytes of the result.

    Raises:
        DataError: an input is not there.
    """
    facts: Facts = {}
    for name, section in sections.items():
        facts |= {f"{name}.{key}": value for key, value in flatten(section.model_dump())}
    facts.pop("run.processes", None)  # where their number counts, `training_session` gets it
    for path in inputs:
        facts |= {file.as_posix(): sha256(file) for file in _files(path)}
    for path in code_of(stage):
        for file in _files(path):
            if file.suffix == ".py":
                facts[f"code:{file.relative_to(_PACKAGE).as_posix()}"] = sha256(file)
    facts |= {f"version of {name}": version(name) for name in libraries}
    return facts


def code_of(stage: str) -> list[Path]:
    """The files and folders of the package that a stage depends on.

    Where there is no dvc.yaml (a trial of a search has its own folder), it is the whole package:
    more code costs a resumption now and then, less would cost the bytes.
    """
    listed = paths_of(read_stages().get(stage, {}), "deps")
    code = [_PACKAGE / path.relative_to(_CODE) for path in listed if path.is_relative_to(_CODE)]
    return code or [_PACKAGE]


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
