"""Presets: small YAML files that are merged into params.yaml, whose comments stay.

A preset holds only the keys that it changes. Presets can be put on top of one another; to go back
to the defaults, restore params.yaml from Git. A section that names a `kind` or a `name` (a source,
a pretrained model) is replaced as a whole when one of them changes, because the other keys belong
to the old kind.
"""

from io import StringIO
from pathlib import Path
from typing import Any

from scratchformer.base.choices import did_you_mean
from scratchformer.base.errors import ParamsError
from scratchformer.base.files import write_whole
from scratchformer.params import parse_params, read_yaml

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
    document = _read_mapping(params)
    before = dict(_leaves(document))
    merge(document, _read_mapping(folder / f"{name}.yaml"))
    try:
        parse_params(document, params)
    except ParamsError as error:
        raise ParamsError(f"preset {name!r} does not fit, nothing was changed: {error}") from None
    text = StringIO()
    _writer().dump(document, text)
    with write_whole(params) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")
    after = dict(_leaves(document))
    keys = [key for key in {**before, **after} if before.get(key, ...) != after.get(key, ...)]
    absent = "(absent)"
    return [f"{key}: {before.get(key, absent)} → {after.get(key, absent)}" for key in keys]


def merge(document: Any, changes: Any) -> None:
    """Change the mapping `document` in place; mappings are merged, everything else replaced."""
    for key, value in changes.items():
        old = document.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            if any(value.get(word, old.get(word)) != old.get(word) for word in _DISCRIMINATORS):
                _replace(old, value)
            else:
                merge(old, value)
        elif isinstance(old, list) and isinstance(value, list):
            tail = _tail(old)
            old.clear()
            old.extend(value)
            _set_tail(old, tail)
        else:
            document[key] = value


def _replace(old: Any, new: Any) -> None:
    """Make the mapping `old` equal to `new`, but for the comment that follows it in the file."""
    tail = _tail(old)
    for key in list(old):
        del old[key]
        old.ca.items.pop(key, None)
    for key, value in new.items():
        old[key] = value
        if key in new.ca.items:
            old.ca.items[key] = new.ca.items[key]
    _set_tail(old, tail)


def _tail(node: Any) -> str:
    """What ruamel hangs on the last entry of a container although it stands below: blank lines,
    and the comments in front of the next section."""
    token = _last_token(node)
    return token.value.partition("\n")[2] if token else ""


def _set_tail(node: Any, tail: str) -> None:
    """Keep the last entry's own comment, and let nothing but `tail` stand below it."""
    from ruamel.yaml.error import CommentMark
    from ruamel.yaml.tokens import CommentToken

    last = _last_key(node)
    if isinstance(node[last], dict | list) and node[last]:
        return _set_tail(node[last], tail)
    token = _last_token(node)
    own = token.value.partition("\n")[0] if token else ""
    comments = node.ca.items
    if own or tail:
        column = CommentMark(token.start_mark.column if token else 0)
        made = CommentToken(f"{own}\n{tail}", column, None)
        comments[last] = [made, None] if isinstance(last, int) else [None, None, made, None]
    else:
        comments.pop(last, None)


def _last_token(node: Any) -> Any:
    """The comment token of the last entry of a container, however deep it lies."""
    last = _last_key(node)
    if isinstance(node[last], dict | list) and node[last]:
        return _last_token(node[last])
    entry = node.ca.items.get(last) or []
    return next((token for token in entry if token is not None), None)


def _last_key(node: Any) -> Any:
    return list(node)[-1] if isinstance(node, dict) else len(node) - 1


def _leaves(node: Any, prefix: str = "") -> Any:
    for key, value in node.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, dict):
            yield from _leaves(value, name)
        else:
            yield name, list(value) if isinstance(value, list) else value


def _read_mapping(path: Path) -> Any:
    document = read_yaml(path)
    if not isinstance(document, dict):
        raise ParamsError(f"{path}: expected a mapping of sections")
    return document


def _writer() -> Any:
    """A writer of YAML that gives an unchanged params.yaml back byte for byte."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="rt")
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(
        type(None), lambda to, _: to.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml
