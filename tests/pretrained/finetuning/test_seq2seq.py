"""Encoder-decoders: small random T5, Marian and BART, built here, go the whole way."""

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from scratchformer.base.errors import ParamsError
from scratchformer.checkpoints.checkpoint import Checkpoints
from scratchformer.params import Finetune, Pretrained
from scratchformer.pretrained.finetuning.finetuning import finetune, save_finetuned
from scratchformer.pretrained.finetuning.tasks.seq2seq import Sequences
from scratchformer.pretrained.models.loading import load_finetuned, load_seq2seq

SETTINGS = Finetune(
    method="full", lora_rank=4, lora_alpha=8.0, lora_dropout=0.0, schedule="linear",
    gradient_checkpointing=False,
    epochs=2, batch_size=16, learning_rate=0.01, warmup_share=0.1, weight_decay=0.0,
    label_smoothing=0.1, class_weights="none", optimizer="adamw_torch_fused",
    freeze="none", frozen_layers=0, patience=2,
    log_every=2,
)


def build(name: str) -> Any:
    import transformers as t

    special = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    sizes = {
        "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
        "max_position_embeddings": 16, "forced_eos_token_id": None, "bos_token_id": None,
    }
    configs = {
        "t5": lambda: t.T5Config(vocab_size=25, d_model=16, d_kv=8, d_ff=32, num_layers=2,
                                 num_heads=2, **special),
        "marian": lambda: t.MarianConfig(vocab_size=25, **sizes, **special),
        "bart": lambda: t.BartConfig(vocab_size=25, **sizes, **special),
    }
    torch.manual_seed(0)
    return t.AutoModelForSeq2SeqLM.from_config(configs[name]())


@pytest.fixture(params=["t5", "marian", "bart"])
def pretrained(request: pytest.FixtureRequest, tmp_path: Path) -> Pretrained:
    build(request.param).save_pretrained(tmp_path / "model")
    return Pretrained(kind="folder", name=str(tmp_path / "model"))


def test_the_loss_is_that_of_transformers(pretrained: Pretrained, copies: pa.Table) -> None:
    model = load_seq2seq(pretrained)
    task = Sequences(model, copies, copies)
    batch = task.collate(list(range(60)))
    with torch.inference_mode():
        theirs = model(**batch)  # the mean over all tokens of the one batch
        right = (theirs.logits.argmax(-1) == batch["labels"]).sum().item()
    scores = task.score()
    assert scores["loss"] == pytest.approx(theirs.loss.item(), rel=1e-5)
    assert scores["token_accuracy"] == right / (batch["labels"] != -100).sum().item()


def test_fine_tuning_helps_and_the_folder_is_complete(
    pretrained: Pretrained, copies: pa.Table, tmp_path: Path
) -> None:
    model = load_seq2seq(pretrained)
    task = Sequences(model, copies, copies)
    before = task.score()["loss"]
    report = finetune(task, SETTINGS, 1, Checkpoints(tmp_path / "checkpoints"))
    assert report.valid["loss"] < before - 0.1
    assert report.steps == 8
    (tmp_path / "tokenizer").mkdir()
    save_finetuned(model, tmp_path / "tokenizer", report, "# A card\n", tmp_path / "out")
    again = load_finetuned(tmp_path / "out", task="seq2seq")
    assert Sequences(again, copies, copies).score()["loss"] == pytest.approx(report.valid["loss"])
    header = (tmp_path / "checkpoints" / "history" / "valid.csv").read_text().splitlines()[0]
    assert header == "step,loss,perplexity,token_accuracy"


def test_frozen_embeddings_and_layers_stay(
    pretrained: Pretrained, copies: pa.Table, tmp_path: Path
) -> None:
    before, after = load_seq2seq(pretrained), load_seq2seq(pretrained)
    frozen = {"freeze": "embeddings", "frozen_layers": 1, "epochs": 1}
    settings = SETTINGS.model_copy(update=frozen)
    finetune(Sequences(after, copies, copies), settings, 1, Checkpoints(tmp_path / "c"))
    moved = {
        name
        for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True)
        if not torch.equal(old, new)
    }
    assert before.get_input_embeddings().weight.equal(after.get_input_embeddings().weight)
    layers = {
        re.sub(r".*\b(encoder|decoder)\.(?:block|layers)\.(\d)\..*", r"\1 \2", name)
        for name in moved
    }
    assert {"encoder 1", "decoder 0", "decoder 1"} <= layers
    assert "encoder 0" not in layers


def test_class_weights_are_for_classes(copies: pa.Table, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"class_weights": "balanced"})
    task = Sequences(build("t5"), copies, copies)
    with pytest.raises(ParamsError, match="for the task classification only"):
        finetune(task, settings, 1, Checkpoints(tmp_path))
