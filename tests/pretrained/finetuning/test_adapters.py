"""LoRA: few numbers are trained, a kill costs nothing, and what is saved is a plain model."""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from scratchformer.base.errors import Interrupted, ParamsError
from scratchformer.base.files import read_json, sha256
from scratchformer.checkpoints.checkpoint import Checkpoints, read_checkpoint
from scratchformer.params import Finetune, Pretrained
from scratchformer.pretrained.finetuning.finetuning import FinetuneReport, finetune, save_finetuned
from scratchformer.pretrained.finetuning.lora import add_adapters, merge_adapters
from scratchformer.pretrained.finetuning.tasks.classification import Classification
from scratchformer.pretrained.finetuning.tasks.seq2seq import Sequences
from scratchformer.pretrained.inference import classify_probabilities
from scratchformer.pretrained.models.loading import load_classifier, load_seq2seq
from scratchformer.runtime import device

LABELS = ["first", "second", "third"]
LORA = Finetune(
    method="lora", lora_rank=4, lora_alpha=8.0, lora_dropout=0.1, schedule="cosine",
    gradient_checkpointing=False,
    epochs=5, batch_size=16, learning_rate=0.01, warmup_share=0.1, weight_decay=0.01,
    label_smoothing=0.0, class_weights="none", optimizer="adamw_torch_fused",
    freeze="embeddings", frozen_layers=0, patience=8,
    log_every=7,
)  # fmt: skip
OnLog = Callable[[Mapping[str, float], int], None]


class Place:
    """Fine-tunes the tiny BERT with adapters in one folder."""

    def __init__(self, tiny_bert: Path, rows: pa.Table, folder: Path) -> None:
        self.source = Pretrained(kind="folder", name=str(tiny_bert))
        self.rows, self.folder, self.output = rows, folder, folder / "finetuned"
        self.checkpoints = Checkpoints(folder / "checkpoints")
        self.model: Any = None

    def run(self, settings: Finetune = LORA, on_log: OnLog = lambda v, s: None) -> FinetuneReport:
        self.model = load_classifier(self.source, LABELS, 1)
        task = Classification(self.model, self.rows.slice(0, 150), self.rows.slice(150))
        report = finetune(task, settings, 1, self.checkpoints, on_log, checkpoint_seconds=0.0)
        tokenizer = self.folder / "tokenizer"
        tokenizer.mkdir(exist_ok=True)
        save_finetuned(self.model, tokenizer, report, "# A card\n", self.output)
        return report

    def digests(self) -> dict[str, str]:
        history = self.checkpoints.folder / "history"
        files = [*self.output.iterdir(), history / "train.csv", history / "valid.csv"]
        return {path.name: sha256(path) for path in files}


@pytest.fixture
def place(tiny_bert: Path, rows: pa.Table, tmp_path: Path) -> Place:
    return Place(tiny_bert, rows, tmp_path)


@pytest.fixture(scope="module")
def whole(
    tiny_bert: Path, rows: pa.Table, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Place, FinetuneReport]:
    """A run that nobody disturbed."""
    place = Place(tiny_bert, rows, tmp_path_factory.mktemp("whole"))
    return place, place.run()


def test_what_is_saved_is_a_plain_model_that_learned(
    whole: tuple[Place, FinetuneReport], rows: pa.Table
) -> None:
    place, report = whole
    assert report.valid["accuracy"] > 0.6  # of three classes
    assert sorted(path.name for path in place.output.iterdir()) == [
        "README.md", "config.json", "model.safetensors", "training.json",
    ]  # fmt: skip
    assert "lora" not in (place.output / "config.json").read_text()
    from transformers import BertForSequenceClassification

    plain = BertForSequenceClassification.from_pretrained(place.output)
    assert not any("lora" in name for name, _ in plain.named_parameters())
    probabilities = classify_probabilities(place.output, rows.slice(150), 8)
    gold = rows.slice(150).column("label").to_numpy()
    assert (probabilities.argmax(axis=1) == gold).mean() == report.valid["accuracy"]
    loss = -np.log(probabilities[np.arange(50), gold]).mean()
    assert report.valid["loss"] == pytest.approx(loss, abs=1e-5)
    assert read_json(place.output / "training.json")["stop_reason"] == "max_steps"


def test_only_adapters_head_and_pooler_are_trained(whole: tuple[Place, FinetuneReport]) -> None:
    place, report = whole
    before = load_classifier(place.source, LABELS, 1)
    old, new = before.state_dict(), place.model.state_dict()
    assert old.keys() == new.keys()
    moved = {name for name in old if not torch.equal(old[name], new[name])}
    assert moved == {
        name for name in old
        if "embeddings" not in name and name.endswith("weight") and "LayerNorm" not in name
    } | {"bert.pooler.dense.bias", "classifier.bias"}  # fmt: skip
    # A change of a matrix beside which an adapter stood has at most the adapter's rank.
    for name in moved:
        change = new[name] - old[name]
        if "encoder" in name:
            assert torch.linalg.matrix_rank(change, atol=1e-5) <= 4, name
    matrices = 3 * (4 * (32 + 32) + 2 * (32 + 64)) * 4  # layers, their matrices, times the rank
    head = (32 * 32 + 32) + (32 * 3 + 3)
    assert report.trained_parameters == matrices + head
    assert report.parameters == sum(parameter.numel() for parameter in before.parameters())


@pytest.mark.parametrize("step", [7, 14])
def test_a_stopped_training_ends_with_the_same_bytes(
    place: Place, whole: tuple[Place, FinetuneReport], step: int
) -> None:
    def stop(values: Mapping[str, float], at: int) -> None:
        if at == step:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        place.run(on_log=stop)
    newest = read_checkpoint(max(place.checkpoints.folder.glob("step-*")))
    assert sum(tensor.numel() for tensor in newest.tensors["model"].values()) < 10_000
    place.run()
    assert place.digests() == whole[0].digests()


def test_adapters_begin_as_nothing_and_frozen_layers_keep_theirs(place: Place) -> None:
    plain, model = (load_classifier(place.source, LABELS, 1).eval() for _ in range(2))
    ids = torch.tensor([[2, 6, 7, 3]])
    adapted = add_adapters(model, LORA, 1)
    assert torch.equal(plain(ids).logits, model(ids).logits)
    merge_adapters(adapted)
    for (name, one), other in zip(plain.named_parameters(), model.parameters(), strict=True):
        assert torch.equal(one, other), name
    report = place.run(LORA.model_copy(update={"frozen_layers": 2, "epochs": 1}))
    first, last = (f"bert.encoder.layer.{layer}.attention.self.query.weight" for layer in (0, 2))
    old, new = plain.state_dict(), place.model.state_dict()
    assert torch.equal(old[first], new[first]) and not torch.equal(old[last], new[last])
    assert report.trained_parameters < 4_000


def test_an_encoder_decoder(copies: pa.Table, tmp_path: Path) -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    config = T5Config(
        vocab_size=25, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
        pad_token_id=0, eos_token_id=1, decoder_start_token_id=0, tie_word_embeddings=True,
    )  # fmt: skip
    T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    source = Pretrained(kind="folder", name=str(tmp_path / "t5"))
    model, before = load_seq2seq(source), load_seq2seq(source)
    task = Sequences(model, copies, copies)
    loss = task.score()["loss"]
    report = finetune(task, LORA, 1, Checkpoints(tmp_path / "checkpoints"))
    assert report.valid["loss"] < loss
    assert torch.equal(model.shared.weight, before.shared.weight)
    assert task.score()["loss"] == pytest.approx(report.valid["loss"], rel=1e-5)


def test_without_peft_the_message_says_what_to_install(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ParamsError, match=r"pip install 'scratchformer\[lora\]'") as raised:
        place.run()
    assert raised.value.exit_code == 2 and "\n" not in str(raised.value)


def test_bfloat16_and_gradient_checkpointing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recomputed activations change no result; half precision changes the products only."""
    full = LORA.model_copy(update={"method": "full", "epochs": 1, "learning_rate": 0.001})
    place.run(full)
    kept = place.digests()["model.safetensors"]
    place.checkpoints.remove()
    place.run(full.model_copy(update={"gradient_checkpointing": True}))
    assert place.digests()["model.safetensors"] == kept
    place.checkpoints.remove()
    half = replace(device.machine(), precision="bfloat16")
    monkeypatch.setattr(device, "_opened", [half])
    report = place.run(full)
    assert place.digests()["model.safetensors"] != kept
    assert report.valid["loss"] < 1.2
    assert next(place.model.parameters()).dtype == torch.float32
