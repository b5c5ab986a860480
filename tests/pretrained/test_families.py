"""Every family of encoders as a classifier: trained, saved, read back, embedded, looked into."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from scratchformer.base.errors import ParamsError
from scratchformer.checkpoints.checkpoint import Checkpoints
from scratchformer.params import Finetune, Pretrained
from scratchformer.pretrained.finetuning.finetuning import finetune, save_finetuned
from scratchformer.pretrained.finetuning.freezing import freeze
from scratchformer.pretrained.finetuning.tasks.classification import Classification
from scratchformer.pretrained.hub.reading import load_tokenizer_folder
from scratchformer.pretrained.inference import classify_probabilities, embed, logits
from scratchformer.pretrained.models.loading import (
    encoder_of,
    load_classifier,
    load_encoder,
    load_finetuned,
)

WORDS = [f"word{number}" for number in range(40)]
SPECIAL = ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]
SIZE = len(SPECIAL) + len(WORDS)
LABELS = ["first", "second", "third"]
SETTINGS = Finetune(
    method="full", lora_rank=2, lora_alpha=4.0, lora_dropout=0.0, schedule="linear",
    gradient_checkpointing=False, epochs=2, batch_size=32,
    learning_rate=0.01, warmup_share=0.1, weight_decay=0.01, label_smoothing=0.1,
    class_weights="balanced", optimizer="adamw_torch_fused",
    freeze="none", frozen_layers=0, patience=2, log_every=5,
)  # fmt: skip
SIZES = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
}  # fmt: skip
COMMON = {"vocab_size": SIZE, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
BART = {
    "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
    "max_position_embeddings": 32, "decoder_start_token_id": 3, "forced_eos_token_id": None,
}  # fmt: skip
DEBERTA = {
    "relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"],
    "norm_rel_ebd": "layer_norm", "share_att_key": True, "position_biased_input": False,
    "type_vocab_size": 0,
}  # fmt: skip


def models_by_family() -> dict[str, Callable[[], Any]]:
    import transformers as t

    gpt2 = {"vocab_size": SIZE, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
    return {
        "distilbert": lambda: t.DistilBertModel(t.DistilBertConfig(
            **COMMON, dim=16, n_layers=2, n_heads=2, hidden_dim=32, max_position_embeddings=32)),
        "roberta": lambda: t.RobertaModel(t.RobertaConfig(
            **COMMON, **SIZES, max_position_embeddings=34, type_vocab_size=1)),
        "albert": lambda: t.AlbertModel(t.AlbertConfig(**COMMON, **SIZES, embedding_size=8)),
        "electra": lambda: t.ElectraModel(t.ElectraConfig(**COMMON, **SIZES, embedding_size=8)),
        "deberta": lambda: t.DebertaV2Model(t.DebertaV2Config(**COMMON, **SIZES, **DEBERTA)),
        "mpnet": lambda: t.MPNetModel(t.MPNetConfig(**COMMON, **SIZES)),
        "modernbert": lambda: t.ModernBertModel(t.ModernBertConfig(
            **COMMON, **SIZES, cls_token_id=2, sep_token_id=3)),
        "gpt2": lambda: t.GPT2LMHeadModel(t.GPT2Config(**gpt2, bos_token_id=3, eos_token_id=3)),
        "t5": lambda: t.T5ForConditionalGeneration(t.T5Config(
            vocab_size=SIZE, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
            pad_token_id=0, eos_token_id=3, decoder_start_token_id=0)),
        "bart": lambda: t.BartForConditionalGeneration(t.BartConfig(**COMMON, **BART)),
    }  # fmt: skip


def save_family(name: str, folder: Path) -> Pretrained:
    from transformers import PreTrainedTokenizerFast

    torch.manual_seed(0)
    models_by_family()[name]().save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel(
        {token: index for index, token in enumerate(SPECIAL + WORDS)}, unk_token="<unk>"
    ))  # fmt: skip
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"unk_token": "<unk>", "eos_token": "</s>", "bos_token": "<s>"}
    if name != "gpt2":
        names["pad_token"] = "<pad>"
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
        )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, padding_side="left", **names
    ).save_pretrained(folder)
    return Pretrained(kind="folder", name=str(folder))


@pytest.fixture(params=list(models_by_family()))
def family(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Pretrained]:
    return request.param, save_family(request.param, tmp_path / "pretrained")


def tune(
    name: str, pretrained: Pretrained, rows: pa.Table, folder: Path, **changes: Any
) -> tuple[Any, Path]:
    """Fine-tune and save; the model and where it lies."""
    model = load_classifier(pretrained, LABELS, 1)
    task = Classification(model, rows.slice(0, 150), rows.slice(150))
    settings = Finetune(**{**SETTINGS.model_dump(), **changes})
    report = finetune(task, settings, 1, Checkpoints(folder / "checkpoints"))
    load_tokenizer_folder(Path(pretrained.name)).save_pretrained(folder / "tokenizer")
    save_finetuned(model, folder / "tokenizer", report, "# A card\n", folder / "tuned")
    return model, folder / "tuned"


def test_a_classifier_goes_the_whole_way(
    family: tuple[str, Pretrained], rows: pa.Table, tmp_path: Path
) -> None:
    from transformers import pipeline

    name, pretrained = family
    _, folder = tune(name, pretrained, rows, tmp_path)
    # Texts of different lengths in one batch: who loads the folder pads and pools as we do.
    texts = ["word1 word2 word3 word4", "word12", "word30 word31"]
    ids = load_tokenizer_folder(folder)(texts)["input_ids"]
    table = pa.table({"source": pa.array(ids, pa.list_(pa.int32()))})
    expected = classify_probabilities(folder, table, 1)
    assert classify_probabilities(folder, table, 3) == pytest.approx(expected, abs=1e-5)
    theirs = pipeline("text-classification", model=str(folder), top_k=None, device="cpu")
    for answer, row in zip(theirs(texts, batch_size=3), expected, strict=True):
        scores = {entry["label"]: entry["score"] for entry in answer}
        assert [scores[label] for label in LABELS] == pytest.approx(row.tolist(), abs=1e-5)
    # What `evaluate` does before the training and `visualize` after it.
    for model in (load_encoder(pretrained), encoder_of(load_finetuned(folder))):
        vectors = embed(model, table, 3)
        assert vectors.shape == (3, 16)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0)
    for model in (load_encoder(pretrained, "eager"), load_finetuned(folder, "eager")):
        maps = encoder_of(model)(torch.tensor(ids[:1]), output_attentions=True).attentions
        assert [each.shape for each in maps] == [(1, 2, len(ids[0]), len(ids[0]))] * 2


def test_adapters_train_the_head_of_every_family(
    family: tuple[str, Pretrained], rows: pa.Table, tmp_path: Path
) -> None:
    name, pretrained = family
    before = load_classifier(pretrained, LABELS, 1).state_dict()
    model, _ = tune(name, pretrained, rows, tmp_path, method="lora", epochs=1)
    after = model.state_dict()
    body = model.base_model_prefix
    head = [key for key in before if not key.startswith(f"{body}.") and "bias" not in key]
    assert head and not any(before[key].equal(after[key]) for key in head)
    tables = [key for key in before if "embeddings.weight" in key or "shared" in key]
    assert all(before[key].equal(after[key]) for key in tables)
    inner = [key for key in before if key not in head and not before[key].equal(after[key])]
    assert len(inner) >= 2  # the adapters were merged into the layers


def test_frozen_embeddings_of_every_family_take_no_gradient(
    family: tuple[str, Pretrained],
) -> None:
    name, pretrained = family
    model = load_classifier(pretrained, LABELS, 1)
    if name == "albert":
        with pytest.raises(ParamsError, match=r"share their weights.*frozen_layers: 0"):
            freeze(model, "embeddings", 1)
        freeze(model, "embeddings")
        return
    freeze(model, "embeddings", 1)
    model.train()
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    first = re.compile(r"embed|\bw[tp]e\b|shared|^\w+(\.\w+)*?\.0\.")  # tables and first layer
    assert not {n for n in trained if first.search(n) and ".1." not in n and "decoder" not in n}
    model(input_ids=torch.tensor([[2, 6, 7, 3]])).logits.sum().backward()
    assert all(p.grad is None for n, p in model.named_parameters() if n not in trained)


def test_what_cannot_tell_text_from_padding_is_refused(tmp_path: Path) -> None:
    import transformers as t

    xlnet = t.XLNetConfig(vocab_size=SIZE, d_model=16, n_layer=1, n_head=2, d_inner=32)
    t.XLNetModel(xlnet).save_pretrained(tmp_path / "xlnet")
    with pytest.raises(ParamsError, match="at the last position of a batch") as raised:
        load_classifier(Pretrained(kind="folder", name=str(tmp_path / "xlnet")), LABELS, 1)
    assert "\n" not in str(raised.value)
    gpt2 = t.GPT2Config(
        vocab_size=SIZE, n_embd=16, n_layer=1, n_head=2, bos_token_id=None, eos_token_id=None
    )
    t.GPT2Model(gpt2).save_pretrained(tmp_path / "gpt2")
    with pytest.raises(ParamsError, match="neither pad_token_id nor eos_token_id"):
        load_classifier(Pretrained(kind="folder", name=str(tmp_path / "gpt2")), LABELS, 1)


@pytest.mark.slow
def test_models_that_were_refused_or_failed_after_hours(tmp_path: Path) -> None:
    """The folders of models in the benchmark cases, each with the tokenizer of its kind."""
    maker = Path(__file__).parents[2].parent / "shared/cases/pretrained-models/make_models.py"
    if not maker.is_file():
        pytest.skip(f"needs {maker}")
    subprocess.run([sys.executable, str(maker), str(tmp_path)], check=True, capture_output=True)
    texts = ["The book was kind.", "The chair was dull and cold, number 38439."]
    for name in ("deberta2", "mpnet", "gpt2", "gpt2pad", "t5", "bart", "albert", "modernbert"):
        source = Pretrained(kind="folder", name=str(tmp_path / name))
        model = load_classifier(source, LABELS, 1)
        ids = load_tokenizer_folder(tmp_path / name)(texts)["input_ids"]
        rows = pa.table({"source": pa.array(ids, pa.list_(pa.int32()))})
        alone = [logits(model, rows.slice(place, 1), 1)[0] for place in (0, 1)]
        assert logits(model, rows, 2) == pytest.approx(np.array(alone), abs=1e-5), name
        assert embed(load_encoder(source), rows, 2).shape == (2, 32), name
