"""A folder in which `evaluate` can run: tiny prepared data, tokenizers and untrained models."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.committed import DEFAULT_PARAMS

from scratchformer.data.preparation.prepared import SCHEMAS, Info, Label
from scratchformer.params import Params, load_params

ROOT = Path(__file__).parents[2]
SIZES = {"train": 90, "valid": 30, "test": 40}
LABELS = ("a", "b", "c")
TOPICS = {"a": "cat dog horse cow", "b": "car bus train ship", "c": "red blue green pink"}


def class_rows(draw: random.Random, split: str) -> dict[str, list[Any]]:
    labels = [draw.choice(LABELS) for _ in range(SIZES[split])]
    words = [draw.choices(TOPICS[label].split(), k=draw.randint(2, 6)) for label in labels]
    ids = [f"{split}{i}" for i in range(len(labels))]
    groups = [f"{split}{i // 2}" for i in range(len(labels))]
    texts = [" ".join(row) for row in words]
    return {
        "id": ids, "text": texts, "text_pair": [None] * len(ids), "label": labels, "group": groups
    }  # fmt: skip


def word_rows(draw: random.Random, split: str) -> dict[str, list[Any]]:
    words = ["".join(draw.choices("abcd", k=draw.randint(2, 6))) for _ in range(SIZES[split])]
    targets = [[" ".join(word.upper())] + ([" ".join(word.upper()[::-1])] if i % 4 == 0 else [])
               for i, word in enumerate(words)]  # fmt: skip
    ids = [f"{split}{i}" for i in range(len(words))]
    return {"id": ids, "source": words, "targets": targets, "group": ids}


def sentence_rows(draw: random.Random, split: str) -> dict[str, list[Any]]:
    vocabulary = " ".join(TOPICS.values()).split()
    texts = [" ".join(draw.choices(vocabulary, k=draw.randint(3, 7))) for _ in range(SIZES[split])]
    ids = [f"{split}{i}" for i in range(len(texts))]
    return {"id": ids, "source": texts, "targets": [[text] for text in texts], "group": ids}


ROWS = {"classes": class_rows, "words": word_rows, "sentences": sentence_rows}


def prepare(track: str, kind: str) -> None:
    """data/prepared/<track>: equal for both tracks if their kinds are equal."""
    task = "classification" if kind == "classes" else "seq2seq"
    draw = random.Random(kind)
    folder = Path("data/prepared") / track
    folder.mkdir(parents=True)
    for split in SIZES:
        table = pa.table(ROWS[kind](draw, split), schema=SCHEMAS[task])
        pq.write_table(table, folder / f"{split}.parquet")
    names = LABELS if task == "classification" else ()
    labels = tuple(Label(name, TOPICS[name]) for name in names)
    Info(task, kind, "made up", "a test", "none", kind == "classes", labels, SIZES).save(
        folder / "info.json"
    )


def make_scratch(kind: str, params: Params) -> None:
    """data/tokenized/scratch and an untrained models/scratch."""
    import torch

    from scratchformer.data.tokenized.encode import encode_track
    from scratchformer.params import Tokenizer
    from scratchformer.text.inputs import load_scratch_inputs
    from scratchformer.text.rules import InputRules
    from scratchformer.text.tokenizers import train_tokenizer
    from scratchformer.transformer import (
        EncoderClassifier,
        Transformer,
        TransformerConfig,
        save_model,
    )

    prepare("scratch", kind)
    table = pq.read_table("data/prepared/scratch/train.parquet")
    settings = Tokenizer(
        algorithm="character" if kind == "words" else "word", vocab_size=100, lowercase=False
    )
    words = settings.model_copy(update={"algorithm": "word"})
    folder = Path("models/scratch")
    folder.mkdir(parents=True)
    size = {"d_model": 16, "num_heads": 2, "d_ff": 32, "num_encoder_layers": 1}
    torch.manual_seed(0)
    model: Transformer | EncoderClassifier
    if kind == "classes":
        source = train_tokenizer(table.column("text").to_pylist(), settings)
        sides, sizes = {"source": source}, {"source_vocab_size": source.get_vocab_size()}
        model = EncoderClassifier(TransformerConfig(**sizes, **size, num_labels=3))
    else:
        source = train_tokenizer(table.column("source").to_pylist(), settings)
        answers = [answer for row in table.column("targets").to_pylist() for answer in row]
        target = train_tokenizer(answers, words)
        sides = {"source": source, "target": target}
        sizes = {f"{side}_vocab_size": each.get_vocab_size() for side, each in sides.items()}
        model = Transformer(
            TransformerConfig(**sizes, **size, num_decoder_layers=1, tie_embeddings="none")
        )
    for side, tokenizer in sides.items():
        tokenizer.save(str(folder / f"{side}.json"))
    longest = 12 if "target" in sides else None
    InputRules(max_source_length=12, max_target_length=longest).save(folder)
    encode_track("scratch", load_scratch_inputs(folder), Path("data/tokenized/scratch"))
    save_model(model, folder)


def make_finetune(kind: str, params: Params) -> None:
    """data/tokenized/finetune, an untrained models/pretrained and models/finetuned."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        BertModel,
        PreTrainedTokenizerFast,
        T5Config,
        T5ForConditionalGeneration,
    )

    from scratchformer.data.tokenized.encode import encode_track
    from scratchformer.pretrained.hub.inputs import load_inputs
    from scratchformer.text.rules import InputRules

    prepare("finetune", kind)
    special = ["<pad>", "</s>", "<unk>"]
    words = special + " ".join(TOPICS.values()).split()
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    torch.manual_seed(0)
    if kind == "classes":
        config = BertConfig(
            vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=64, pad_token_id=0,
        )  # fmt: skip
        BertModel(config).save_pretrained("models/pretrained")
        config.num_labels = 3
        config.id2label, config.label2id = dict(enumerate(LABELS)), {
            name: i for i, name in enumerate(LABELS)
        }
        BertForSequenceClassification(config).save_pretrained("models/finetuned")
    else:
        t5 = T5Config(
            vocab_size=len(words), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2,
            pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
        )  # fmt: skip
        for folder in ("models/pretrained", "models/finetuned"):
            T5ForConditionalGeneration(t5).save_pretrained(folder)
    for folder in ("models/pretrained", "models/finetuned"):
        tokenizer.save_pretrained(folder)
    longest = None if kind == "classes" else 12
    InputRules(max_source_length=12, max_target_length=longest).save(Path("models/finetuned"))
    inputs = load_inputs(Path("models/finetuned"))
    encode_track("finetune", inputs, Path("data/tokenized/finetune"))


@pytest.fixture
def workplace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], Params]:
    """workplace(scratch kind, finetune kind) fills an empty current folder; gives its params."""
    monkeypatch.chdir(tmp_path)

    def fill(scratch: str, finetune: str) -> Params:
        params = load_params(DEFAULT_PARAMS)
        changes = {"bootstrap_resamples": 100, "batch_size": 16}
        params = params.model_copy(
            update={
                "run": params.run.model_copy(update={"threads": 1}),
                "evaluate": params.evaluate.model_copy(update=changes),
                "pretrained": params.pretrained.model_copy(
                    update={"kind": "folder", "name": "models/pretrained"}
                ),
            }
        )
        Path("data/tokenized").mkdir(parents=True)
        make_scratch(scratch, params)
        make_finetune(finetune, params)
        return params

    return fill
