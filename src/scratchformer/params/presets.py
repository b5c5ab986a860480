"""Presets: small YAML files that are merged into params.yaml, whose comments stay.

A preset holds only the keys that it changes. Presets can be put on top of one another; to go back
to the defaults, restore params.yaml from Git. A section that names a `kind` or a `name` (a source,
a pretrained model) is replaced as a whole when one of them changes, because the other keys belong
to the old kind.

The file is edited as text, at the places where values stand: what is not changed keeps its bytes.
"""

import re
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from textwrap import indent
from typing import Any

from scratchformer.base.choices import did_you_mean
from scratchformer.base.errors import ParamsError
from scratchformer.base.files import write_whole
from scratchformer.base.mappings import flatten
from scratchformer.params import parse_params, read_yaml
from scratchformer.params.reading import plain

PRESETS = Path("presets")
_DISCRIMINATORS = ("kind", "name")


def list_presets(folder: Path = PRESETS) -> dict[str, str]:
    """Name and description (the first line, a comment) of every preset."""
    described = {}
    for path in sorted(folder.glob("*.yaml")):
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        described[path.stem] = first.removeprefix("#").strip()
    if not described:
        raise ParamsError(f"{folder}: no presets here; run from the root of the checkout")
    return described


def apply_preset(
    name: str, params: Path = Path("params.yaml"), folder: Path = PRESETS
) -> list[str]:
    """Merge a preset into a parameter file; return the changes as lines `key: old → new`.

    Raises:
        ParamsError: there is no such preset, or the merged parameters would be invalid; the file
            is left as it was.
    """
    known = list_presets(folder)
    if name not in known:
        hint = did_you_mean(name, list(known), "presets")
        raise ParamsError(f"no preset is called {name!r}; {hint}")
    old, changes = _read_mapping(params), _read_mapping(folder / f"{name}.yaml")
    new = merged(old, changes)
    try:
        parse_params(new, params)
    except ParamsError as error:
        raise ParamsError(f"preset {name!r} does not fit, nothing was changed: {error}") from None
    text = edited(params.read_text(encoding="utf-8-sig"), new)
    with write_whole(params) as temporary:
        temporary.write_text(text, encoding="utf-8")
        try:
            made = _read_mapping(temporary)
        except ParamsError:
            made = None  # an alias has lost its anchor
        if made != new:
            raise ParamsError(
                f"{params}: cannot be edited in place (does it use anchors and aliases?); nothing "
                f"was changed, copy the keys of {folder / name}.yaml by hand"
            )
    before, after = dict(flatten(old)), dict(flatten(new))
    keys = [key for key in {**before, **after} if before.get(key, ...) != after.get(key, ...)]
    absent = "(absent)"
    return [f"{key}: {before.get(key, absent)} → {after.get(key, absent)}" for key in keys]


def merged(old: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`old` with `changes`: mappings of the same kind are merged, everything else is replaced."""
    new = dict(old)
    for key, value in changes.items():
        before = old.get(key)
        if isinstance(before, Mapping) and _same_kind(before, value):
            new[key] = merged(before, value)
        else:
            new[key] = value
    return new


def edited(text: str, new: Mapping[str, Any]) -> str:
    """The YAML `text` of a mapping, changed where its values differ from `new`."""
    from ruamel.yaml import YAML

    root = YAML(typ="safe", pure=True).compose(text)
    old = YAML(typ="safe", pure=True).load(text)
    for start, end, replacement in sorted(_edits(text, root, old, new), reverse=True):
        text = text[:start] + replacement + text[end:]
    return text


def _edits(
    text: str, node: Any, old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[tuple[int, int, str]]:
    """(first character, character behind the last, replacement) for what differs below `node`."""
    column = node.value[0][0].start_mark.column
    for key, place in node.value:
        value, before = new[key.value], old[key.value]
        if value == before:
            continue
        if before and _same_kind(before, value) and before.keys() <= value.keys():
            yield from _edits(text, place, before, value)
        elif isinstance(value, dict) and not _in_one_line(place):
            # The old keys go with the comments on them; one behind `key:` stays.
            block = _written(value, place.start_mark.column - 2).lstrip()
            yield place.start_mark.index, _end_of_line(text, place), block
        elif isinstance(value, dict) or not _in_one_line(place):
            yield key.end_mark.index, _end_of_line(text, place), ":" + _written(value, column)
        else:
            yield _edit_in_line(text, key, place, _written(value, column).strip())
    end = _end_of_line(text, node)
    for key in new.keys() - old.keys():
        yield end, end, f"\n{' ' * column}{key}:{_written(new[key], column)}"


def _same_kind(before: Any, value: Any) -> bool:
    """Whether both are mappings, and the second names no other kind than the first."""
    if not (isinstance(before, dict) and isinstance(value, dict)):
        return False
    return all(value[word] == before.get(word) for word in _DISCRIMINATORS if word in value)


def _in_one_line(node: Any) -> bool:
    return isinstance(node.value, str) or not node.value or bool(node.flow_style)


def _edit_in_line(text: str, key: Any, place: Any, value: str) -> tuple[int, int, str]:
    """The comment behind the value stays in its column, if there is room."""
    start, end = place.start_mark.index, place.end_mark.index
    if start == end:  # `key:` without a value: the mark may be in a later line
        start = end = text.index(":", key.end_mark.index) + 1
    blanks = re.compile(r" *(?=#)").match(text, end)
    if blanks:
        value = value.ljust(blanks.end() - start - 1) + " "
        end = blanks.end()
    return start, end, f" {value}" if text[start - 1] == ":" else value


def _end_of_line(text: str, node: Any) -> int:
    """Where the line ends that the last value below `node` stands in."""
    while not _in_one_line(node):
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    end = text.find("\n", node.end_mark.index)
    return len(text) if end < 0 else end


def _written(value: Any, column: int) -> str:
    """What follows `key:`: in the same line, or for a mapping in the lines below."""
    from ruamel.yaml import YAML

    yaml: Any = YAML(typ="safe", pure=True)
    stream = StringIO()
    yaml.width, yaml.sort_base_mapping_type_on_output = 4096, False
    yaml.default_flow_style = not isinstance(value, dict)
    yaml.dump(value if isinstance(value, dict) else [value], stream)
    if isinstance(value, dict):
        return "\n" + indent(stream.getvalue().rstrip("\n"), " " * (column + 2))
    return f" {stream.getvalue().strip()[1:-1]}"


def _read_mapping(path: Path) -> dict[str, Any]:
    document = read_yaml(path)
    if not isinstance(document, dict):
        raise ParamsError(f"{path}: expected a mapping of sections")
    values: dict[str, Any] = plain(document)
    return values
