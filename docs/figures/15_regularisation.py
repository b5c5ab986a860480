"""A small model that learns 500 words by heart: without dropout and with it."""

import tempfile
from collections import defaultdict
from itertools import islice
from pathlib import Path

import pyarrow as pa
from matplotlib.figure import Figure
from tests.committed import DEFAULT_PARAMS

from scratchformer.checkpoints.checkpoint import Checkpoints
from scratchformer.data.sources.cmudict import open_cmudict
from scratchformer.data.tokenized.batches import TokenBatches
from scratchformer.params import Tokenizer, parse_params, read_yaml
from scratchformer.params.presets import merged
from scratchformer.text.tokenizers import train_tokenizer
from scratchformer.training.build import build_objective
from scratchformer.training.loop import Training
from scratchformer.visualization.plots.style import BLUE, ORANGE

WORDS, EVERY, LONGEST = 1000, 97, 40  # half of the words to learn, half to validate
SPLITS = ("train", "valid")
SETTINGS = {
    "model": {
        "d_model": 64, "num_heads": 4, "d_ff": 128, "num_encoder_layers": 1,
        "num_decoder_layers": 1, "norm": "layer", "norm_position": "pre", "activation": "relu",
        "positions": "sinusoidal", "tie_embeddings": "decoder", "initialization": "xavier",
        "attention": "fused", "num_kv_heads": 0,
    },
    "optimizer": {"kind": "adamw", "learning_rate": 0.004, "weight_decay": 0.01},
    "schedule": "constant", "warmup_steps": 50,
    "clip_norm": 1.0, "label_smoothing": 0.0, "batch_tokens": 384, "accumulate": 1,
    "max_steps": 400, "validate_every": 40, "patience": 1000, "decode_samples": 1,
    "log_every": 25,
}  # fmt: skip


def tables() -> tuple[dict[str, pa.Table], dict[str, int]]:
    """The two splits, tokenized, and the sizes that a model needs."""
    entries = [row.values for row in islice(open_cmudict("seq2seq").splits["train"](),
                                            0, WORDS * EVERY, EVERY)]  # fmt: skip
    columns, sizes = {"row": pa.array(range(WORDS), pa.int32())}, {}
    for side, algorithm in (("source", "character"), ("target", "word")):
        texts = [entry[side] for entry in entries]
        tokenizer = train_tokenizer(
            texts, Tokenizer(algorithm=algorithm, vocab_size=8000, lowercase=False)
        )
        ids = [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]
        columns[side] = pa.array(ids, pa.list_(pa.int32()))
        sizes[f"{side}_vocab_size"] = tokenizer.get_vocab_size()
        sizes[f"max_{side}_length"] = LONGEST
    table = pa.table(columns)
    splits = {split: table.take([*range(first, WORDS, 2)]) for first, split in enumerate(SPLITS)}
    return splits, sizes


def curves(dropout: float, splits: dict[str, pa.Table], sizes: dict[str, int]) -> dict:
    """Loss of both splits by update, measured alike: without dropout."""
    document = read_yaml(DEFAULT_PARAMS)
    model = {**SETTINGS["model"], "dropout": dropout}
    # Updates are made one by one here, without the files of a whole training.
    alone = {"model": model, "diagnose_every": 0}
    document = merged(document, {"train_scratch": {**SETTINGS, **alone}})
    settings = parse_params(document, DEFAULT_PARAMS).train_scratch
    train, valid = (TokenBatches(table, settings.batch_tokens, 1) for table in splits.values())
    info = {"task": "seq2seq", **sizes}
    on_train = build_objective(settings, info, train, 1)
    objective = build_objective(settings, info, valid, 1)
    on_train.model = objective.model
    found = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        training = Training(objective, train, settings, 1, Checkpoints(Path(folder)))
        training.model.train()
        for step in range(1, settings.max_steps + 1):
            training.update()
            if step % settings.validate_every == 0:
                found["step"].append(step)
                found["train"].append(on_train.validate().values["loss"])
                found["valid"].append(objective.validate().values["loss"])
    return found


def draw() -> Figure:
    splits, sizes = tables()
    figure = Figure(figsize=(8.0, 3.4), layout="constrained")
    ax = figure.subplots()
    for dropout, colour, marker in ((0.0, ORANGE, "s"), (0.3, BLUE, "o")):
        found = curves(dropout, splits, sizes)
        for split, style in (("valid", "-"), ("train", ":")):
            ax.plot(found["step"], found[split], style, marker=marker, markersize=4, color=colour,
                    label=f"{split}, dropout {dropout:g}")  # fmt: skip
        best = min(range(len(found["step"])), key=found["valid"].__getitem__)
        label = None if dropout else "lowest: early stopping keeps it"
        ax.plot(found["step"][best], found["valid"][best], "o", markersize=11, color="black",
                fillstyle="none", label=label)  # fmt: skip
    ax.set(xlabel="update", ylabel="loss, nats per phoneme", ylim=(0, None),
           title=f"{WORDS // 2} words to learn from, {WORDS // 2} others to validate")  # fmt: skip
    ax.legend()
    return figure
