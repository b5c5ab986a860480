"""A tiny random BERT with a tokenizer, built and saved here; and a network that is not there."""

import random
import shutil
import socket
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pytest
from tests.committed import DEFAULT_PARAMS

from scratchformer.base.files import write_json
from scratchformer.data.preparation.prepared import Info, Label
from scratchformer.params import Params, Pretrained, load_params

ROOT = Path(__file__).parents[2]
WORDS = [f"word{number}" for number in range(40)]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> NoReturn:
        raise AssertionError("a test in this folder reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the Hugging Face layout: an encoder of 3 layers and 32 wide, vocabulary WORDS."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("pretrained") / "tiny-bert"
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {token: index for index, token in enumerate(special + WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_padding(length=16)  # as the published MiniLM does
    BertTokenizerFast(tokenizer_object=tokenizer, model_max_length=64).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def rows() -> pa.Table:
    """200 tokenized rows of three classes; the class decides which words are likely."""
    draw = random.Random(1)
    ids, labels = [], []
    for number in range(200):
        label = number % 3
        words = [
            5 + draw.randrange(10) + (10 * label if draw.random() < 0.6 else 30)
            for _ in range(draw.randint(2, 12))
        ]
        ids.append([2, *words, 3])
        labels.append(label)
    return pa.table(
        {
            "row": pa.array(range(200), pa.int32()),
            "source": pa.array(ids, pa.list_(pa.int32())),
            "label": pa.array(labels, pa.int32()),
        }
    )


@pytest.fixture(scope="session")
def copies() -> pa.Table:
    """60 records whose answer is the input, for encoder-decoders with ids 0 (pad) and 1 (end)."""
    draw = random.Random(2)
    ids = [[*(draw.randrange(5, 25) for _ in range(draw.randint(1, 4))), 1] for _ in range(60)]
    column = pa.array(ids, pa.list_(pa.int32()))
    return pa.table({"row": pa.array(range(60), pa.int32()), "source": column, "target": column})


def make_stage_folder(folder: Path, model: Path, rows: pa.Table, **changes: Any) -> Params:
    """A working folder as `tokenize` leaves it, and parameters that name the tiny BERT `model`;
    `changes` are of the section `finetune`."""
    tokens, tokenizer = folder / "data/tokenized/finetune", folder / "models/tokenizers/finetune"
    for made in (tokens, tokenizer):
        made.mkdir(parents=True)
    for split, table in (("train", rows.slice(0, 150)), ("valid", rows.slice(150))):
        with pa.ipc.new_file(str(tokens / f"{split}.arrow"), table.schema) as writer:
            writer.write_table(table)
    write_json(tokens / "info.json", {"task": "classification", "labels": ["x", "y", "z"]})
    labels = (Label("x", "the first"), Label("y", ""), Label("z", "the last"))
    counts = {"train": 150, "valid": 50, "test": 10}
    prepared = folder / "data/prepared/finetune"
    prepared.mkdir(parents=True)
    Info(
        "classification", "words", "Words.", "A test.", "CC0-1.0", True, labels, counts
    ).save(prepared / "info.json")
    for path in model.glob("tokenizer*.json"):
        shutil.copy(path, tokenizer)
    params = load_params(DEFAULT_PARAMS)
    settings = params.finetune.model_copy(update=changes)
    run = params.run.model_copy(update={"threads": 1})
    pretrained = Pretrained(kind="folder", name=str(model))
    return params.model_copy(update={"run": run, "finetune": settings, "pretrained": pretrained})
