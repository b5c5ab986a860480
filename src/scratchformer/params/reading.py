"""From the text of params.yaml to `Params`, or to an error that says where and what to mend."""

import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from scratchformer.base.choices import did_you_mean, nearest
from scratchformer.base.errors import ParamsError
from scratchformer.params.schema import Params

# Keys of earlier versions, and where they stand now.
MOVED = {
    "train_scratch.learning_rate": "train_scratch.optimizer.learning_rate",
    "train_scratch.weight_decay": "train_scratch.optimizer.weight_decay",
}


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and validate a parameter file.

    Raises:
        ParamsError: the file is missing, is not YAML, or breaks the schema; the message names
            the file, the line, the key, what was found, what was expected and the nearest key.
    """
    return parse_params(read_yaml(path), path)


def read_yaml(path: Path) -> Any:
    """Read a YAML file with its comments and line numbers.

    Raises:
        ParamsError: the file is missing or is not YAML; the message names the line.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        yaml = YAML(typ="rt")
        yaml.preserve_quotes = True
        return yaml.load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ParamsError(f"{path}: not found; run from the root of the checkout") from None
    except OSError as error:
        raise ParamsError(f"{path}: cannot be read: {error.strerror}") from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        reason = error.problem or error.context
        raise ParamsError(f"{path}:{line}: not readable as YAML: {reason}") from None
    except (YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ParamsError(f"{path}: not readable as YAML: {reason}") from None


def parse_params(document: Any, path: Path) -> Params:
    """Validate an already read YAML document; `path` is only named in errors."""
    if not isinstance(document, dict):
        raise ParamsError(f"{path}: expected a mapping of sections, found {_show(document)}")
    try:
        return Params.model_validate(plain(document))
    except ValidationError as error:
        problems = error.errors()
        # A misspelt key is also a missing one; its own line says all.
        meant = {
            (*problem["loc"][:-1], nearest(str(problem["loc"][-1]), _valid_keys(problem["loc"])))
            for problem in problems
            if problem["type"] == "extra_forbidden"
        }
        lines = [
            _describe(problem, document, path)
            for problem in problems
            if not (problem["type"] == "missing" and problem["loc"] in meant)
        ]
        raise ParamsError("\n".join(lines)) from None


def plain(node: Any) -> Any:
    """ruamel's annotated containers and scalars as the built-in types that pydantic checks."""
    if isinstance(node, dict):
        return {str(key): plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def _describe(problem: Any, document: Any, path: Path) -> str:
    """One line for one problem: file, line, key, found, expected, fix."""
    location = _location_in_document(problem["loc"], document)
    if problem["type"].startswith("union_tag"):
        location.append("kind")
    where = f"{path}:{_line_of(location, document)}: {'.'.join(map(str, location)) or 'the file'}"
    if problem["type"] == "extra_forbidden" and where.split(": ")[-1] in MOVED:
        return f"{where}: moved; write it as {MOVED[where.split(': ')[-1]]}"
    if problem["type"] == "extra_forbidden":
        return f"{where}: unknown key; {did_you_mean(location[-1], _valid_keys(problem['loc']))}"
    if problem["type"] == "union_tag_invalid":
        kinds = [kind.strip("'") for kind in problem["ctx"]["expected_tags"].split(", ")]
        found = problem["ctx"]["tag"]
        return f"{where}: unknown kind {found!r}; {did_you_mean(found, kinds)}"
    if problem["type"] == "union_tag_not_found":
        written = nearest("kind", [str(key) for key in problem["input"]])
        hint = f"did you write it as {written}?" if written else "the other keys depend on it"
        return f"{where}: missing; {hint}"
    if problem["type"] == "missing":
        return f"{where}: missing; add it (see params.yaml in the repository for its meaning)"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if problem["type"] == "value_error":
        return f"{where}: {message}"
    if problem["type"] in ("model_type", "model_attributes_type", "dict_type"):
        message = "expected a mapping of keys"
    hint = ""
    if problem["type"] == "literal_error":
        choices = [choice.strip("'") for choice in re.split(", | or ", problem["ctx"]["expected"])]
        match = nearest(str(problem["input"]), choices)
        hint = f"; did you mean {match}?" if match else ""
    return f"{where}: {message}, found {_show(problem['input'])}{hint}"


def _location_in_document(loc: tuple[int | str, ...], document: Any) -> list[int | str]:
    """Drop the parts of pydantic's location that stand for a member of a union, not for a key."""
    location: list[int | str] = []
    node = document
    for index, part in enumerate(loc):
        last = index == len(loc) - 1
        if isinstance(node, dict) and part not in node and not last:
            continue
        location.append(part)
        node = (
            node.get(part)
            if isinstance(node, dict)
            else (node[part] if isinstance(node, list) and isinstance(part, int) else None)
        )
    return location


def _line_of(location: list[int | str], document: Any) -> int:
    """1-based line of the deepest part of `location` that exists in the file."""
    line, node = 1, document
    for part in location:
        try:
            line = (node.lc.item(part) if isinstance(part, int) else node.lc.key(part))[0] + 1
            node = node[part]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return line


def _valid_keys(loc: tuple[int | str, ...]) -> list[str]:
    """The keys that may stand beside the one at `loc`, by walking the schema as pydantic did."""
    schema = Params.model_json_schema()
    node: Any = schema
    for part in loc[:-1]:
        node = _resolve(node, schema)
        if "discriminator" in node:
            node = {"$ref": node["discriminator"]["mapping"][part]}
        elif "anyOf" in node:
            node = node["anyOf"][0]
        else:
            node = node["properties"][part]
    return list(_resolve(node, schema).get("properties", {}))


def _resolve(node: Any, schema: Any) -> Any:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    return node


def _show(value: Any) -> str:
    text = repr(plain(value))
    return text if len(text) <= 60 else text[:57] + "..."
