"""A workspace as the earlier stages leave it: tiny models, and numbers made by hand."""

import html
import itertools
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from tests.committed import DEFAULT_PARAMS

from scratchformer.base.files import write_json
from scratchformer.base.tasks import TaskName
from scratchformer.params import Params, load_params

ROOT = Path(__file__).parents[2]
WORDS = ["cat", "act", "tac", "cataract", "attic", "tact", "at", "tic"]
PHONES = {"c": "K", "a": "AE", "t": "T", "r": "R", "i": "IH"}
CLASSES = {"01": "Infections", "02": "Neoplasms", "03": "Blood <b>bold</b>"}
TEXTS = ["fever of the liver", "growth in the liver", "weak blood", "fever", "blood growth"]
MARKUP = "<script>alert(1)</script>"


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder of 2 layers and 2 heads with a word tokenizer, in the Hugging Face layout."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("pretrained") / "bert"
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(" ".join(TEXTS).split())]
    vocabulary = {name: index for index, name in enumerate(dict.fromkeys(names))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    BertTokenizerFast(tokenizer_object=tokenizer, model_max_length=64).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=64,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def make_workspace(
    tmp_path: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[TaskName], Params]:
    """Build what the stage reads in a new current folder; gives the parameters to run it with."""

    def make(task: TaskName) -> Params:
        monkeypatch.chdir(tmp_path)
        write_scratch(task)
        write_finetuned(tiny_bert)
        write_histories()
        write_data_report()
        write_json(Path("reports/metrics.json"), metrics_of(task))
        params = load_params(DEFAULT_PARAMS)
        visible = params.visualize.model_copy(
            update={"attention_examples": 1, "error_examples": 2, "projection_points": 20}
        )
        pretrained = params.pretrained.model_copy(
            update={"kind": "folder", "name": str(tiny_bert)}
        )
        run = params.run.model_copy(update={"threads": 1})
        return params.model_copy(
            update={"run": run, "visualize": visible, "pretrained": pretrained}
        )

    return make


def write_scratch(task: TaskName) -> None:
    """models/scratch, its description and its predictions."""
    import torch

    from scratchformer.params import Tokenizer
    from scratchformer.text.rules import InputRules
    from scratchformer.text.tokenizers import train_tokenizer
    from scratchformer.transformer import (
        EncoderClassifier,
        Transformer,
        TransformerConfig,
        save_model,
    )

    folder = Path("models/scratch")
    folder.mkdir(parents=True)
    texts = WORDS if task == "seq2seq" else [*TEXTS, MARKUP]
    characters = Tokenizer(algorithm="character", vocab_size=60, lowercase=False)
    source = train_tokenizer(texts, characters)
    source.save(str(folder / "source.json"))
    longest = 64 if task == "seq2seq" else None
    InputRules(max_source_length=64, max_target_length=longest).save(folder)
    sizes: dict[str, Any] = {
        "source_vocab_size": source.get_vocab_size(), "d_model": 16, "num_heads": 2, "d_ff": 16,
        "num_encoder_layers": 2, "num_decoder_layers": 2, "tie_embeddings": "none",
    }  # fmt: skip
    torch.manual_seed(0)
    if task == "seq2seq":
        answers = [" ".join(PHONES[letter] for letter in word) for word in WORDS]
        words = Tokenizer(algorithm="word", vocab_size=60, lowercase=False)
        target = train_tokenizer(answers, words)
        target.save(str(folder / "target.json"))
        config = TransformerConfig(target_vocab_size=target.get_vocab_size(), **sizes)
        save_model(Transformer(config), folder)
        write_info("scratch", task, {})
        write_predictions("scratch-model", sequence_predictions(answers, seed=1))
        write_predictions("scratch-igtree", sequence_predictions(answers, seed=2))
    else:
        save_model(EncoderClassifier(TransformerConfig(num_labels=3, **sizes)), folder)
        write_info("scratch", task, CLASSES)
        write_predictions("scratch-model", class_predictions(seed=1))
        calibration_table("model").to_csv("reports/predictions/scratch-calibration.csv")
        write_coverage("scratch")


def write_finetuned(tiny_bert: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_pretrained(tiny_bert, num_labels=len(CLASSES))
    shutil.copytree(tiny_bert, "models/finetuned")
    model.save_pretrained("models/finetuned")
    write_info("finetune", "classification", CLASSES)
    before, after = class_predictions(seed=3), class_predictions(seed=4)
    write_predictions("finetune-before", before)
    write_predictions("finetune-after", after)
    folder = Path("reports/predictions")
    changes_table(before, after).to_csv(folder / "finetune-changes.csv", index=False)
    for kind, names in (("class", list(CLASSES)), ("length", ["1 words", "2–4 words"])):
        effect_table(names).to_csv(folder / f"finetune-effect-by-{kind}.csv", index=False)
    write_coverage("finetune")
    pd.concat([calibration_table("before"), calibration_table("after")]).to_csv(
        folder / "finetune-calibration.csv", index=False
    )


def write_data_report(across_splits: int = 0) -> None:
    """reports/data.json, as far as the page reads it."""
    dropped = {"rows_dropped": {"across_splits": across_splits}}
    write_json(Path("reports/data.json"), {"scratch": dropped, "finetune": dropped})


def write_info(track: str, task: TaskName, classes: dict[str, str]) -> None:
    labels = [{"name": name, "description": text} for name, text in classes.items()]
    write_json(
        Path(f"data/prepared/{track}/info.json"),
        {
            "task": task, "name": "toy", "description": f"toy rows {MARKUP}", "origin": "tests",
            "licence": "none", "grouped": False, "labels": labels, "counts": {"test": 8},
        },
    )  # fmt: skip


def write_predictions(name: str, table: pd.DataFrame) -> None:
    path = Path(f"reports/predictions/{name}.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(path)


def sequence_predictions(answers: list[str], seed: int) -> pd.DataFrame:
    """One row a word; some of the answers lack their last phoneme, one is empty."""
    draw = random.Random(seed)
    rows = []
    for word, answer in zip(WORDS, answers, strict=True):
        wrong = draw.random() < 0.5
        said = " ".join(answer.split()[:-1]) if wrong else answer
        rows.append(
            {
                "id": word, "source": word, "references": [answer], "prediction": said,
                "score": -1.0, "exact": not wrong, "distance": int(wrong),
                "reference_length": len(answer.split()),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def class_predictions(seed: int, texts: list[str] | None = None) -> pd.DataFrame:
    """One row a text; the first one holds markup."""
    draw = np.random.default_rng(seed)
    texts = texts or [MARKUP, *TEXTS, *(f"{text} again" for text in TEXTS)]
    probabilities = draw.dirichlet([0.5] * len(CLASSES), len(texts)).astype(np.float32)
    names = list(CLASSES)
    return pd.DataFrame(
        {
            "id": [f"row{number}" for number in range(len(texts))],
            "text": texts,
            "group": texts,
            "label": [names[number % 3] for number in range(len(texts))],
            "prediction": [names[i] for i in probabilities.argmax(axis=1)],
            "confidence": probabilities.max(axis=1),
            "probabilities": list(probabilities),
        }
    )


def changes_table(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """The table that `evaluate` makes of two systems; here with both directions in it."""
    table = pd.DataFrame(
        {
            "id": before["id"], "text": before["text"], "label": before["label"],
            "before": before["prediction"], "after": after["prediction"],
            "probability_before": 0.2, "probability_after": 0.7, "gain": 0.5,
        }
    )  # fmt: skip
    outcomes = ["fixed", "broken", "still wrong", "still right"]
    table.insert(0, "outcome", (outcomes * len(table))[: len(table)])
    return table


def effect_table(names: list[str]) -> pd.DataFrame:
    rows = len(names)
    return pd.DataFrame(
        {
            "kind": names, "rows": [5] * rows, "before": np.linspace(0.2, 0.5, rows),
            "after": np.linspace(0.9, 0.4, rows), "difference": np.linspace(0.7, -0.1, rows),
            "low": np.linspace(0.5, -0.3, rows), "high": np.linspace(0.9, 0.1, rows),
        }
    )  # fmt: skip


def calibration_table(system: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "system": system, "low": [0.4, 0.9], "high": [0.5, 1.0], "rows": [6, 2],
            "confidence": [0.45, 0.95], "accuracy": [0.5, 0.5],
        }
    )  # fmt: skip


def write_coverage(track: str) -> None:
    """The tables of answers withheld."""
    folder = Path("reports/predictions")
    curve = {"threshold": [0.9, 0.4], "answered": [0.5, 1.0], "accuracy": [1.0, 0.75]}
    pd.DataFrame(curve).to_csv(folder / f"{track}-coverage.csv", index=False)
    chosen = {
        "target": [0.9], "threshold": [0.875], "valid_answered": [0.5], "valid_accuracy": [1.0],
        "test_answered": [0.625], "test_accuracy": [0.9],
    }  # fmt: skip
    pd.DataFrame(chosen).to_csv(folder / f"{track}-thresholds.csv", index=False)


def write_histories(points: int = 3) -> None:
    for track in ("scratch", "finetune"):
        folder = Path(f"reports/history/{track}")
        folder.mkdir(parents=True, exist_ok=True)
        train, valid = histories(points)
        train.to_csv(folder / "train.csv", index=False)
        valid.to_csv(folder / "valid.csv", index=False)


def histories(points: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    steps = np.arange(1, points + 1) * 10
    train = pd.DataFrame(
        {"step": steps, "loss": 3.0 / steps, "learning_rate": steps * 1e-4, "gradient_norm": 1.5}
    )
    valid = pd.DataFrame({"step": steps, "loss": 2.0 / steps, "accuracy": steps / 100})
    return train, valid


def metrics_of(task: TaskName) -> dict[str, Any]:
    """reports/metrics.json with every kind of entry that the report reads."""
    ends = {"low": 0.3, "high": 0.5}
    scores = {"accuracy": 0.4, "macro_f1": 0.35, "loss": 1.0, "intervals": {"accuracy": ends}}
    if task == "seq2seq":
        scores = {"wer": 0.4, "per": 0.1, "loss": 0.5, "intervals": {"wer": ends}}
    change = {"accuracy": {"value": 0.3, "low": 0.1, "high": 0.5, "p_value": 0.25}}
    classes = {"accuracy": 0.4, "macro_f1": 0.35, "intervals": {"accuracy": ends}}
    return {
        "scratch": {
            "task": task, **scores, "baselines": {"copy": scores}, "n": 8, "groups": 8, "valid": {},
        },
        "finetune": {
            "task": "classification", "before": {**classes, "prompt": f"about {{label}} {MARKUP}"},
            "after": classes, "delta": change, "valid": {"before": {}, "after": {}},
            "baselines": {"majority": classes}, "against": {"majority": change},
            "n": 11, "groups": 9,
        },
        "method": {"confidence": 0.95, "resamples": 100, "interval": "BCa"},
    }  # fmt: skip


@pytest.fixture(scope="session")
def browse(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Open a page in headless Chromium; returns the text of its element `result`."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("needs chromium")

    def open_page(text: str) -> str:
        page = tmp_path_factory.mktemp("page") / "page.html"
        page.write_text(text, encoding="utf-8")
        command = [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
            f"--user-data-dir={page.parent / 'profile'}", "--virtual-time-budget=60000",
            page.as_uri(),
        ]  # fmt: skip
        shown = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=120
        ).stdout
        found = re.search(r'<pre id="result">(.*?)</pre>', shown, re.S)
        assert found, shown[-2000:]
        return html.unescape(found[1])

    return open_page


# --- looking at figures -----------------------------------------------------------------------


def texts_of(figure: Figure) -> Iterator[Text]:
    """All visible pieces of text of a figure, drawn so that they have an extent."""
    figure.canvas.draw()
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip():
            yield text


def overlapping(labels: list[Text]) -> list[tuple[str, str]]:
    """Neighbouring labels of an axis that cover each other."""
    boxes = [(label.get_text(), label.get_window_extent()) for label in labels if label.get_text()]
    return [
        (a, b)
        for (a, box), (b, other) in itertools.pairwise(boxes)
        if box.padded(-0.5).overlaps(other.padded(-0.5))
    ]
