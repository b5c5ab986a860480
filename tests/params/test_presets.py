"""Presets: each is valid, keeps comments, and replaces what must not be mixed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.committed import DEFAULT_PARAMS

from scratchformer.base.errors import ParamsError
from scratchformer.params import FilesSource, GeneratedSource, HubSource, Params, load_params
from scratchformer.params.presets import (
    _read_mapping,
    apply_preset,
    edited,
    list_presets,
    merged,
)

ROOT = Path(__file__).parents[2]
TEXT = DEFAULT_PARAMS.read_text(encoding="utf-8")
NAMES = [path.stem for path in sorted((ROOT / "presets").glob("*.yaml"))]


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return path


def apply(name: str, params: Path) -> Params:
    apply_preset(name, params, ROOT / "presets")
    return load_params(params)


def test_the_promised_presets_are_there_and_described() -> None:
    promised = {"identity", "reverse", "tiny", "full-g2p", "multi30k", "sst2", "classification"}
    described = list_presets(ROOT / "presets")
    assert set(described) >= promised | {"icd-compare"}
    for name, description in described.items():
        assert len(description) > 20 and description.endswith("."), name


@pytest.mark.parametrize("name", NAMES)
def test_the_head_says_what_result_to_expect(name: str, params: Path) -> None:
    head = (ROOT / "presets" / f"{name}.yaml").read_text(encoding="utf-8").partition("\n\n")[0]
    if apply(name, params).pretrained.kind == "hub":
        # Hours with a downloaded model, measured by nobody yet: the head says what a run costs.
        assert "the network" in head and "on a CPU" in head
    else:
        assert re.search(r"^# (Expected: .* % \[\d|Published .* \d+\.\d%)", head, re.M)


def test_values_that_stay_keep_their_bytes() -> None:
    assert edited(TEXT, _read_mapping(DEFAULT_PARAMS)) == TEXT


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_valid_changes_only_what_it_names_and_keeps_the_comments(
    name: str, params: Path
) -> None:
    before = load_params(params).model_dump()
    after = apply(name, params).model_dump()
    named = _read_mapping(ROOT / "presets" / f"{name}.yaml")
    assert after != before
    assert {key for key in before if after[key] != before[key]} <= set(named)
    text = params.read_text(encoding="utf-8")
    headings = r"^(\w+):|^$|^#.*"  # sections, blank lines and comments of their own
    assert re.findall(headings, text, re.M) == re.findall(headings, TEXT, re.M)
    comments = {line.partition("#")[2] for line in TEXT.splitlines() if "#" in line}
    kept = {line.partition("#")[2] for line in text.splitlines() if "#" in line}
    # Only a replaced source or pretrained model loses the comments on its old keys; multi30k
    # replaces both sources and the model.
    assert len(comments - kept) <= 7
    assert apply(name, params).model_dump() == after  # applying it twice is applying it once


@pytest.mark.parametrize("first", NAMES)
@pytest.mark.parametrize("second", NAMES)
def test_presets_can_follow_one_another(first: str, second: str, params: Path) -> None:
    apply(first, params)
    apply(second, params)


def test_a_source_of_another_kind_is_replaced_as_a_whole(params: Path) -> None:
    source = apply("multi30k", params).prepare.scratch.source
    assert isinstance(source, FilesSource)
    source = apply("reverse", params).prepare.scratch.source
    assert source == GeneratedSource(kind="generated", name="reverse", rows=20000)
    assert _read_mapping(params)["prepare"]["scratch"]["source"].keys() == {"kind", "name", "rows"}


def test_a_source_of_the_same_kind_and_name_is_merged(params: Path) -> None:
    source = apply("tiny", params).prepare.finetune.source
    assert source.model_dump() == {"kind": "package", "name": "icd10cm", "max_per_label": 20}
    assert "max_per_label: 20   # rows kept of each label" in params.read_text(encoding="utf-8")


def test_hub_presets_are_pinned(params: Path) -> None:
    made = apply("sst2", params)
    assert isinstance(made.prepare.finetune.source, HubSource)
    assert made.pretrained.kind == "hub"
    assert made.pretrained.revision is not None


def test_both_tracks_of_the_comparison_have_the_same_rows(params: Path) -> None:
    made = apply("icd-compare", params).prepare
    assert made.scratch == made.finetune
    assert made.scratch.task == "classification"


@pytest.mark.parametrize(
    ("text", "changes", "expected"),
    [
        # lists: empty, in one line, in several, inside a list of lists
        ("x: []  # none\ny: 3\n", {"x": ["a"]}, "x: [a] # none\ny: 3\n"),
        ("x: [a, b]   # two\ny: 3\n", {"x": []}, "x: []       # two\ny: 3\n"),
        ("x:\n  - 1 # one\n  - 2\n\n# on y\ny: 3\n", {"x": [7], "z": 1},
         "x: [7]\n\n# on y\ny: 3\nz: 1\n"),
        ("x:\n  - 1\n  - 2", {"x": ["{a}: b", "c, d"]}, "x: ['{a}: b', 'c, d']"),
        # scalars: no room before the comment, quotes, nothing, a word that is a boolean
        ("x: 1 # one\n", {"x": 123456}, "x: 123456 # one\n"),
        ("x: 'a # b'   # c\n", {"x": "true"}, "x: 'true'    # c\n"),
        ("x:\ny: 2\n", {"x": 5}, "x: 5\ny: 2\n"),
        ("x: 1\ny: 2\n", {"x": None}, "x: null\ny: 2\n"),
        ("x: 1\n", {"x": 3e-05}, "x: 3e-05\n"),
        # mappings: a deep value, a new key, a new kind, an empty one that is filled
        ("a:\n  b:\n    c: 1 # c\n  # on d\n  d: 2\n", {"a": {"b": {"c": 4, "e": 5}}},
         "a:\n  b:\n    c: 4 # c\n    e: 5\n  # on d\n  d: 2\n"),
        ("a:\n  kind: p # p\n  n: 1 # n\n\n# on d\nd: 2\n", {"a": {"kind": "q", "m": 2}},
         "a:\n  kind: q\n  m: 2\n\n# on d\nd: 2\n"),
        ("a:\n  b: {}\n  c: 1\n", {"a": {"b": {"z": 1, "y": 2}}},
         "a:\n  b:\n    z: 1\n    y: 2\n  c: 1\n"),
        ("a: {b: 1, c: 2}  # both\nd: 1\n", {"a": {"b": 3}}, "a: {b: 3, c: 2}  # both\nd: 1\n"),
        ("a:\n  b: 1\nd: 1\n", {"a": 5}, "a: 5\nd: 1\n"),
    ],
)  # fmt: skip
def test_the_text_is_changed_where_the_values_stand(
    text: str, changes: dict[str, object], expected: str, tmp_path: Path
) -> None:
    (tmp_path / "a.yaml").write_text(text)
    new = merged(_read_mapping(tmp_path / "a.yaml"), changes)
    assert edited(text, new) == expected
    (tmp_path / "a.yaml").write_text(expected)
    assert _read_mapping(tmp_path / "a.yaml") == new


def test_a_preset_that_sets_a_list(params: Path) -> None:
    folder = params.parent / "presets"
    folder.mkdir()
    (folder / "mine.yaml").write_text("# x.\ntrain_scratch:\n  skip_gates: [learning_rate]\n")
    for _ in range(2):
        apply_preset("mine", params, folder)
        assert load_params(params).train_scratch.skip_gates == ["learning_rate"]
    line = "  skip_gates: [learning_rate] # checks before the first update that are left out, by na"
    assert line in params.read_text(encoding="utf-8")
    (folder / "mine.yaml").write_text("# x.\ntrain_scratch:\n  skip_gates:\n    - future\n")
    apply_preset("mine", params, folder)
    assert load_params(params).train_scratch.skip_gates == ["future"]
    (folder / "mine.yaml").write_text("# x.\ntrain_scratch:\n  skip_gates: []\n")
    apply_preset("mine", params, folder)
    assert len(params.read_text(encoding="utf-8").splitlines()) == len(TEXT.splitlines())
    assert load_params(params).train_scratch.skip_gates == []


def test_a_file_that_shares_its_values_is_not_changed(params: Path) -> None:
    """An edit of the one place would change the other too."""
    shared = TEXT.replace("seed: 42 ", "seed: &n 42 ").replace("max_steps: 4000", "max_steps: *n")
    params.write_text(shared, encoding="utf-8")
    with pytest.raises(ParamsError, match="anchors"):
        apply_preset("tiny", params, ROOT / "presets")
    assert params.read_text(encoding="utf-8") == shared


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# x.\nfinetune:\n  epoch: 3\n", "finetune.epoch: unknown key; did you mean epochs?"),
        ("# x.\nfinetune: fast\n", "finetune: expected a mapping of keys, found 'fast'"),
        ("# x.\n- 1\n", "expected a mapping of sections"),
        ("# x.\na: [\n", "not readable as YAML"),
        ("# x.\nprepare:\n  scratch:\n    source:\n      kind: hub\n      name: a/b\n", "revision"),
    ],
)
def test_a_preset_that_does_not_fit_changes_nothing(params: Path, text: str, expected: str) -> None:
    folder = params.parent / "presets"
    folder.mkdir()
    (folder / "mine.yaml").write_text(text)
    with pytest.raises(ParamsError, match=re.escape(expected)) as caught:
        apply_preset("mine", params, folder)
    assert "\n" not in str(caught.value)
    assert params.read_text(encoding="utf-8") == TEXT
    assert {path.name for path in params.parent.iterdir()} == {"params.yaml", "presets"}


def scratchformer(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).with_name("scratchformer")), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_command(params: Path) -> None:
    folder = params.parent
    done = scratchformer("preset", folder=folder)
    assert done.returncode == 2 and "run from the root of the checkout" in done.stderr
    (folder / "presets").symlink_to(ROOT / "presets")
    listed = scratchformer("preset", folder=folder)
    assert [line.split()[0] for line in listed.stdout.splitlines()] == NAMES
    unknown = scratchformer("preset", "idenity", folder=folder)
    assert unknown.returncode == 2
    assert unknown.stderr.startswith(
        "scratchformer: no preset is called 'idenity'; did you mean identity? (presets: "
    )
    assert unknown.stderr.count("\n") == 1
    done = scratchformer("preset", "tiny", folder=folder)
    assert done.returncode == 0
    before = re.search(r"max_steps: (\d+)", TEXT)
    assert before and f"train_scratch.max_steps: {before[1]} → 80\n" in done.stdout
    assert load_params(params).train_scratch.max_steps == 80
