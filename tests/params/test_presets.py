"""Presets: each is valid, keeps comments, and replaces what must not be mixed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.committed import DEFAULT_PARAMS

from scratchformer.base.errors import ParamsError
from scratchformer.params import FilesSource, GeneratedSource, HubSource, Params, load_params
from scratchformer.params.presets import _read_mapping, _writer, apply_preset, list_presets, merge

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


def test_writing_changes_no_byte_of_an_unchanged_file(params: Path) -> None:
    with params.open("w", encoding="utf-8") as file:
        _writer().dump(_read_mapping(DEFAULT_PARAMS), file)
    assert params.read_text(encoding="utf-8") == TEXT


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


def test_lists_are_replaced_and_what_follows_them_stays(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("x:\n  - 1 # one\n  - 2 # two\n\n# about y\ny: 3\n")
    (tmp_path / "b.yaml").write_text("x:\n  - 7\n\nz: 1\n")
    document = _read_mapping(tmp_path / "a.yaml")
    merge(document, _read_mapping(tmp_path / "b.yaml"))
    with (tmp_path / "a.yaml").open("w") as file:
        _writer().dump(document, file)
    assert (tmp_path / "a.yaml").read_text() == "x:\n  - 7\n\n# about y\ny: 3\nz: 1\n"


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
