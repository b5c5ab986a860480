"""A model folder from anybody: `scratchformer predict` refuses it in one line and runs nothing.

Pretrained folders: tests/pretrained/hub/test_loading.py, whose damages are used here again.
"""

import json
import pickle
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.prediction.test_prediction import finetuned, save_scratch
from tests.pretrained.hub.test_loading import BROKEN, Canary

from scratchformer.base.errors import ScratchformerError
from scratchformer.prediction import load_predictor

__all__ = ["finetuned"]
Break = Callable[[Path], None]


@pytest.fixture(params=["writer", "classifier"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "writer":
        return save_scratch(tmp_path / "model")
    made = save_scratch(tmp_path / "model", num_labels=3)
    (made / "labels.json").write_text('["low", "mid", "high"]')
    return made


def refused(folder: Path) -> str:
    with pytest.raises(ScratchformerError) as raised:
        load_predictor(folder)
    told = str(raised.value)
    assert str(folder) in told and "\n" not in told
    assert not list(folder.parent.rglob("canary"))
    return told


@pytest.mark.parametrize("kind", [*BROKEN, "a pickle under this name"])
def test_weights(kind: str, folder: Path) -> None:
    canary = pickle.dumps(Canary(folder.parent / "canary"))
    (folder / "model.safetensors").write_bytes(BROKEN.get(kind, canary))
    assert "model.safetensors is damaged" in refused(folder)


def test_pickles_are_not_opened(folder: Path) -> None:
    canary = pickle.dumps(Canary(folder.parent / "canary"))
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
        (folder / name).write_bytes(canary)
    load_predictor(folder)
    (folder / "model.safetensors").unlink()
    assert "No such file" in refused(folder)


CONFIG: dict[str, Any] = {
    "d_model": [float("nan"), "16", 0, -16, 2**40, 1.5, None, True, [16]],
    "num_heads": [0, -1, 3],
    "num_kv_heads": [-1, 3, 2**40],
    "positions": ["none such"],
    "num_encoder_layers": [10**12, -1],
    "d_ff": [2**23, 2**40, float("inf")],  # the first would take half a gigabyte
    "source_vocab_size": [0, 2**50],
    "max_length": [0, 10**9],
    "dropout": [float("nan"), -1, 2, 0.999995, "0.1"],
    "norm_epsilon": [float("inf"), None],
    "activation": ["__import__('os')", 7, ["relu"]],
    "architecture": ["Evil", None, 7, ["Transformer"]],
    "auto_map": [{"AutoModel": "evil.Model"}],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in CONFIG.items() for value in values]
)
def test_configurations(field: str, value: Any, folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, field: value}))
    (folder / "evil.py").write_text(f"open({str(folder.parent / 'canary')!r}, 'w')")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18  # KiB


def another_shape(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("feed_forward.inner.weight"))
    save_file({**tensors, name: tensors[name].T.contiguous()}, folder / "model.safetensors")


def one_more(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "extra": torch.ones(3)}, folder / "model.safetensors")


def text(name: str, content: str) -> Break:
    return lambda folder: (folder / name).write_text(content) and None


def more_tokens_than_weights(folder: Path) -> None:
    tokenizer = json.loads((folder / "source.json").read_text())
    tokenizer["model"]["vocab"] |= {f"new{number}": 10**6 + number for number in range(50)}
    (folder / "source.json").write_text(json.dumps(tokenizer))


FILES: dict[str, Break] = {
    "transposed": another_shape,
    "one tensor more": one_more,
    "config is a list": text("config.json", "[]"),
    "config is no JSON": text("config.json", "{"),
    "config is empty": text("config.json", ""),
    "deep config": text("config.json", "[" * 100_000),
    "tokenizer is no JSON": text("source.json", "\0"),
    "tokenizer of another form": text("source.json", '{"model": {"type": "Evil"}, "version": 1}'),
    "tokenizer is a list": text("source.json", "[]"),
    "more tokens than weights": more_tokens_than_weights,
}


@pytest.mark.parametrize("kind", FILES)
def test_files(kind: str, folder: Path) -> None:
    FILES[kind](folder)
    refused(folder)


@pytest.mark.parametrize("labels", ["{", "{}", '["a"]', '["a", "b", "c", "d"]', "7"])
def test_labels(labels: str, tmp_path: Path) -> None:
    folder = save_scratch(tmp_path / "model", num_labels=3)
    (folder / "labels.json").write_text(labels)
    assert "labels.json" in refused(folder)


FINETUNED: dict[str, Break] = {
    "tokenizer of another form": text("tokenizer.json", '{"model": {"type": "Evil"}}'),
    "tokenizer is a list": text("tokenizer.json", "[]"),
    "remote code": lambda folder: change(folder, auto_map={"AutoModel": "evil.Model"}),
    "labels with a hole": lambda folder: change(folder, id2label={"0": "a", "7": "b", "2": "c"}),
    "width is NaN": lambda folder: change(folder, hidden_size=float("nan")),
    "a layer of half a gigabyte": lambda folder: change(folder, intermediate_size=2**23),
    "no heads": lambda folder: change(folder, num_attention_heads=0),
    "architectures is a number": lambda folder: change(folder, architectures=7),
    "weights are a pickle": lambda folder: (folder / "model.safetensors").write_bytes(
        pickle.dumps(Canary(folder.parent / "canary"))
    ) and None,
}  # fmt: skip


def change(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


@pytest.mark.parametrize("reader", ["ours", "transformers"])
@pytest.mark.parametrize("kind", FINETUNED)
def test_a_fine_tuned_folder(kind: str, reader: str, finetuned: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finetuned, tmp_path / "model"))
    if reader == "transformers":
        (folder / "training.json").unlink()  # then it is not known to be written by the project
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")
    FINETUNED[kind](folder)
    refused(folder)


def test_the_command_ends_with_one_line(tmp_path: Path) -> None:
    folder = save_scratch(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(pickle.dumps(Canary(tmp_path / "canary")))
    program = "import sys; from scratchformer.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "predict", "--model", str(folder), "text"]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert done.returncode == 3 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "model.safetensors is damaged" in done.stderr
    assert not (tmp_path / "canary").exists()
