"""The command line: quick, one line for what is expected to go wrong, the right exit code."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.committed import DEFAULT_PARAMS

from scratchformer.evaluation.tables import results_table
from scratchformer.record.metrics import parse_metrics

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(DEFAULT_PARAMS, tmp_path)
    return tmp_path


def scratchformer(
    folder: Path, *arguments: str, given: bytes = b"", **environment: str
) -> tuple[int, str, str]:
    command = [str(Path(sys.executable).with_name("scratchformer")), *arguments]
    done = subprocess.run(
        command, cwd=folder, input=given, capture_output=True, check=False,
        env=os.environ | environment,
    )  # fmt: skip
    encoding = environment.get("PYTHONIOENCODING", "utf-8")
    return done.returncode, done.stdout.decode(encoding), done.stderr.decode(encoding)


@pytest.fixture(scope="module")
def labeller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained classifier: what it says does not matter here."""
    from tests.prediction.test_prediction import save_scratch

    return save_scratch(tmp_path_factory.mktemp("model"), num_labels=3)


def test_help_names_every_command_and_imports_nothing_heavy(folder: Path) -> None:
    code, out, _ = scratchformer(folder, "--help")
    assert code == 0
    for command in ("params", "preset", "ui", "sync", "verify", "readme", "predict"):
        assert f"\n  {command} " in out
    watched = (
        "import sys; from scratchformer.cli import app\n"
        "try: app(['--help'])\n"
        "finally:\n"
        "    heavy = {'torch', 'transformers', 'mlflow', 'pandas', 'pydantic', 'ruamel', 'dvc'}\n"
        "    print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", watched], capture_output=True, text=True, check=False
    )
    assert done.stderr == "[]\n"


@pytest.mark.parametrize(
    "arguments", [["trian"], ["predict", "--beam", "0"], ["ui", "--port", "x"]]
)
def test_a_mistyped_command_is_a_usage_error(folder: Path, arguments: list[str]) -> None:
    code, _, err = scratchformer(folder, *arguments)
    assert code == 2
    assert "Usage: scratchformer" in err and "Traceback" not in err


def test_params(folder: Path) -> None:
    assert scratchformer(folder, "params") == (0, "params.yaml is valid\n", "")
    text = (folder / "params.yaml").read_text(encoding="utf-8")
    (folder / "params.yaml").write_text(text.replace("epochs: ", "epoch: "), encoding="utf-8")
    code, out, err = scratchformer(folder, "params")
    assert (code, out) == (2, "")
    assert err.startswith("scratchformer: params.yaml:") and err.count("\n") == 1
    assert "finetune.epoch: unknown key; did you mean epochs?" in err
    code, _, err = scratchformer(folder, "--debug", "params")
    assert code == 1 and "Traceback" in err


def test_verify_without_a_record(folder: Path) -> None:
    code, out, err = scratchformer(folder, "verify")
    assert (code, out) == (3, "")
    assert err == "scratchformer: dvc.lock: nothing is recorded yet; run dvc repro first\n"


def test_verify_where_nothing_was_made(folder: Path) -> None:
    """As in a new clone: Git brings what is recorded, and nothing that could be damaged."""
    outs = [{"path": name, "md5": "0" * 32, "size": 1} for name in ("model", "metrics.json")]
    lock = {"schema": "2.0", "stages": {"train": {"cmd": "true", "outs": outs}}}
    (folder / "dvc.lock").write_text(json.dumps(lock))  # which YAML reads too
    code, out, err = scratchformer(folder, "verify")
    assert (code, err) == (0, "")
    assert out == (
        "not made here yet, run dvc repro (or dvc pull): model, metrics.json\n"
        "0 files checked, 0 damaged\n"
    )


def test_ui_and_predict_without_anything_made(folder: Path) -> None:
    code, _, err = scratchformer(folder, "ui", "--no-sync")
    assert code == 2 and "no runs yet; `dvc repro` records them" in err
    code, _, err = scratchformer(folder, "predict", "abc")
    assert code == 3 and "models/scratch: no model here" in err and err.count("\n") == 1


def test_readme(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert scratchformer(folder, "readme")[0] == 3
    (folder / "reports").mkdir()
    scores = {"task": "seq2seq", "n": 5, "groups": 5, "wer": 0.3, "valid": {"wer": 0.4}}
    method = {"confidence": 0.95, "resamples": 100, "interval": "BCa"}
    metrics = {"scratch": scores, "method": method}
    (folder / "reports/metrics.json").write_text(json.dumps(metrics))
    begin, end = results_table.BEGIN, results_table.END
    (folder / "README.md").write_text(f"before\n{begin}\n{end}\nafter\n")
    assert scratchformer(folder, "readme", "--check")[0] == 3
    assert scratchformer(folder, "readme") == (0, "README.md: written\n", "")
    assert scratchformer(folder, "readme", "--check") == (0, "README.md: up to date\n", "")
    text = (folder / "README.md").read_text()
    assert "| **Transformer from scratch** | 30.0 % |" in text
    rendered = results_table.render(parse_metrics(metrics))
    assert text == f"before\n{begin}\n{rendered}\n{end}\nafter\n"
    (folder / "README.md").write_text("no marks")
    assert scratchformer(folder, "readme")[0] == 2
    (folder / "reports/metrics.json").write_text('{"scratch": {}}')
    code, _, err = scratchformer(folder, "readme")
    assert code == 3 and err.startswith("scratchformer: reports/metrics.json: method: missing")


def test_bytes_on_stdin_that_are_not_utf8(folder: Path, labeller: Path) -> None:
    model = ("--model", str(labeller))
    code, out, err = scratchformer(folder, "predict", *model, given=b"plain\ncaf\xe9 au lait\n")
    assert (code, out) == (3, "")
    assert err == "scratchformer: stdin:2: `text` is not valid UTF-8 (character 4)\n"
    code, _, err = scratchformer(
        folder, "predict", *model, "--output", "out.csv", given=b"plain\ncaf\xe9\n"
    )
    assert code == 3 and err.count("\n") == 1 and not (folder / "out.csv").exists()


def test_a_pipe_with_few_letters_ends_no_command(folder: Path, labeller: Path) -> None:
    shutil.copytree(ROOT / "presets", folder / "presets")
    code, out, err = scratchformer(folder, "preset", "lesson", PYTHONIOENCODING="cp1252")
    assert (code, err) == (0, "") and "\\u2192" in out and "values changed" in out
    code, out, err = scratchformer(
        folder, "predict", "--model", str(labeller), "好", PYTHONIOENCODING="cp1252"
    )
    assert (code, err) == (0, "") and out.startswith("\\u597d\t")
    code, _, err = scratchformer(folder, "preset", "好", PYTHONIOENCODING="cp1252")
    assert code == 2 and "no preset is called" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["preset", "lesson"], 2, "params.yaml: cannot be read: Is a directory"),
        (["verify"], 1, "dvc.lock: Is a directory"),
        (["predict", "a", "--output", "params.yaml"], 2, "params.yaml: is a folder"),
        (["predict", "--input", "params.yaml"], 3, "params.yaml: is a folder"),
        (["predict", "--model", "\x1b[2Jx", "a"], 3, "␛[2Jx: no model here"),
        (["readme"], 3, "not text in UTF-8"),
    ],
)
def test_what_the_system_refuses_is_one_line(
    folder: Path, arguments: list[str], code: int, expected: str
) -> None:
    shutil.copytree(ROOT / "presets", folder / "presets")
    (folder / "params.yaml").unlink()
    (folder / "params.yaml").mkdir()
    (folder / "dvc.lock").mkdir()
    (folder / "README.md").write_bytes(b"caf\xe9")
    (folder / "reports").mkdir()
    (folder / "reports/metrics.json").write_text("{}")
    found, out, err = scratchformer(folder, *arguments)
    assert (found, out) == (code, "") and expected in err and err.count("\n") == 1


def test_every_layout_has_what_writes_it() -> None:
    from scratchformer.cli.export import EXPORTS, Layout

    assert set(EXPORTS) == set(Layout)
