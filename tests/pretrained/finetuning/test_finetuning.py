"""Fine-tuning: it learns, it freezes, it resumes to the byte, it leaves no pickle behind."""

import copy
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from tests.forked import ForkedPython
from torch.optim.optimizer import register_optimizer_step_pre_hook

from scratchformer.base.errors import GateError, Interrupted, ParamsError
from scratchformer.base.files import read_json, sha256
from scratchformer.checkpoints.checkpoint import Checkpoints
from scratchformer.monitoring.stop_reason import StopReason
from scratchformer.params import Finetune, Pretrained
from scratchformer.pretrained.finetuning.finetuning import (
    CLIP_NORM,
    FinetuneReport,
    finetune,
    save_finetuned,
)
from scratchformer.pretrained.finetuning.freezing import freeze
from scratchformer.pretrained.finetuning.loss import class_weights
from scratchformer.pretrained.finetuning.optimizer_state import state_bytes
from scratchformer.pretrained.finetuning.sampler import LengthGroupedSampler
from scratchformer.pretrained.finetuning.tasks.classification import Classification
from scratchformer.pretrained.finetuning.trainer import Window
from scratchformer.pretrained.inference import classify_probabilities
from scratchformer.pretrained.models.loading import load_classifier

LABELS = ["first", "second", "third"]
SETTINGS = Finetune(
    method="full", lora_rank=4, lora_alpha=8.0, lora_dropout=0.0, schedule="linear",
    gradient_checkpointing=False,
    epochs=8, batch_size=16, learning_rate=0.003, warmup_share=0.3, weight_decay=0.01,
    label_smoothing=0.0, class_weights="none", optimizer="adamw_torch_fused",
    freeze="none", frozen_layers=0, patience=8,
    log_every=7,
)
UPDATES_AN_EPOCH = 10  # 150 rows in batches of 16
FEW = SETTINGS.model_copy(update={"epochs": 3})


def changed(**values: Any) -> Finetune:
    return Finetune(**{**SETTINGS.model_dump(), **values})


class Runs:
    """Fine-tunes the tiny BERT in one folder, and says what came out."""

    def __init__(self, tiny_bert: Path, rows: pa.Table, folder: Path) -> None:
        self.tiny_bert, self.rows, self.folder = tiny_bert, rows, folder
        self.output = folder / "finetuned"
        self.checkpoints = Checkpoints(folder / "checkpoints")

    def run(
        self,
        settings: Finetune = FEW,
        on_log: Callable[[Mapping[str, float], int], None] = lambda values, step: None,
        checkpoint_seconds: float = 60.0,
        seed: int = 1,
    ) -> FinetuneReport:
        model = load_classifier(Pretrained(kind="folder", name=str(self.tiny_bert)), LABELS, seed)
        task = Classification(model, self.rows.slice(0, 150), self.rows.slice(150))
        report = finetune(task, settings, seed, self.checkpoints, on_log, checkpoint_seconds)
        tokenizer = self.folder / "tokenizer"
        tokenizer.mkdir(exist_ok=True)
        for path in self.tiny_bert.glob("tokenizer*.json"):
            (tokenizer / path.name).write_bytes(path.read_bytes())
        save_finetuned(model, tokenizer, report, "# A card\n", self.output)
        return report

    def digests(self) -> dict[str, str]:
        """Of the model folder and of the curves without timings."""
        history = self.checkpoints.folder / "history"
        files = [*self.output.iterdir(), history / "train.csv", history / "valid.csv"]
        return {path.name: sha256(path) for path in files}

    def curve(self, name: str) -> list[list[str]]:
        text = (self.checkpoints.folder / "history" / f"{name}.csv").read_text()
        return [line.split(",") for line in text.splitlines()]


@pytest.fixture
def runs(tiny_bert: Path, rows: pa.Table, tmp_path: Path) -> Runs:
    return Runs(tiny_bert, rows, tmp_path)


@pytest.fixture(scope="module")
def whole(tiny_bert: Path, rows: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """A run of three epochs that nobody disturbed."""
    runs = Runs(tiny_bert, rows, tmp_path_factory.mktemp("whole"))
    runs.run()
    return runs


def test_it_learns_and_the_saved_model_is_the_one_that_was_scored(
    runs: Runs, rows: pa.Table
) -> None:
    report = runs.run(changed(label_smoothing=0.2))
    assert report.valid["accuracy"] > 0.9
    probabilities = classify_probabilities(runs.output, rows.slice(150), 8)
    gold = rows.slice(150).column("label").to_numpy()
    assert (probabilities.argmax(axis=1) == gold).mean() == report.valid["accuracy"]
    loss = -np.log(probabilities[np.arange(50), gold]).mean()
    assert report.valid["loss"] == pytest.approx(loss, abs=1e-5)  # without the smoothing
    best = next(row for row in runs.curve("valid")[1:] if int(row[0]) == report.best_step)
    assert float(best[1]) == pytest.approx(report.valid["loss"], rel=1e-6)
    assert float(best[2]) == max(float(row[2]) for row in runs.curve("valid")[1:])


def test_the_curves(whole: Runs) -> None:
    train, valid, speed = (whole.curve(name) for name in ("train", "valid", "speed"))
    assert train[0] == ["step", "loss", "learning_rate", "gradient_norm", "tokens"]
    assert valid[0] == ["step", "loss", "accuracy", "macro_f1"]
    assert [int(row[0]) for row in train[1:]] == [7, 14, 21, 28, 30]
    assert [int(row[0]) for row in speed[1:]] == [7, 14, 21, 28, 30]
    assert [int(row[0]) for row in valid[1:]] == [10, 20, 30]
    lengths = [len(ids) for ids in whole.rows.slice(0, 150).column("source").to_pylist()]
    assert int(train[-1][4]) == 3 * sum(lengths)
    # Warm-up over 9 of 30 updates, then down in a line; the rate is that of the update itself.
    assert float(train[1][2]) == pytest.approx(0.003 * 6 / 9)
    assert float(train[-1][2]) == pytest.approx(0.003 * 1 / 21)


def test_the_recorded_loss_and_gradient_are_those_before_the_updates_of_the_row(
    runs: Runs,
) -> None:
    """Recomputed by torch alone, each row by itself without padding; every other batch is short."""
    model = load_classifier(Pretrained(kind="folder", name=str(runs.tiny_bert)), LABELS, 1)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # else nobody could draw the same loss again
    with torch.no_grad():
        model.classifier.weight.mul_(50)  # so that gradients are clipped
    plain = copy.deepcopy(model).eval()
    before: list[dict[str, torch.Tensor]] = []

    def remember(*_: Any) -> None:
        before.append(copy.deepcopy(model.state_dict()))

    rows = runs.rows.slice(0, 24)
    task = Classification(model, rows, runs.rows.slice(150))
    settings = changed(epochs=2, label_smoothing=0.3, log_every=3)
    with register_optimizer_step_pre_hook(remember):
        finetune(task, settings, 1, runs.checkpoints)
    sampler = LengthGroupedSampler(task.lengths, 16, 1)
    batches = [part for epoch in (0, 1) for part in np.split(sampler.order(epoch), [16])]
    sources, labels = (rows.column(name).to_pylist() for name in ("source", "label"))
    losses: list[float] = []
    norms: list[float] = []
    for batch, weights in zip(batches, before, strict=True):
        plain.load_state_dict(weights)
        plain.zero_grad()
        logits = [plain(input_ids=torch.tensor([sources[row]])).logits for row in batch]
        loss = torch.nn.functional.cross_entropy(
            torch.cat(logits), torch.tensor([labels[row] for row in batch]), label_smoothing=0.3
        )
        loss.backward()
        losses.append(loss.item())
        norms.append(sum(float(p.grad.square().sum()) for p in plain.parameters()) ** 0.5)
    assert min(norms) > CLIP_NORM  # the clipped norm would be another number
    recorded = [[float(row[i]) for i in (0, 1, 3)] for row in runs.curve("train")[1:]]
    assert recorded == [
        pytest.approx([3, np.average(losses[:3], weights=[16, 8, 16]), np.mean(norms[:3])], 1e-4),
        pytest.approx([4, losses[3], norms[3]], 1e-4),
    ]


def test_a_row_of_the_history_starts_from_nothing() -> None:
    """Each is a sum that is divided by `updates` or `items` when the row is written."""
    assert set(vars(Window()).values()) == {0}


def test_the_same_parameters_give_the_same_bytes(runs: Runs, whole: Runs) -> None:
    runs.run()
    assert runs.digests() == whole.digests()
    different = Runs(runs.tiny_bert, runs.rows, runs.folder / "other")
    different.folder.mkdir()
    different.run(seed=2)
    assert different.digests()["model.safetensors"] != whole.digests()["model.safetensors"]


def test_plain_transformers_loads_the_folder(whole: Runs, rows: pa.Table) -> None:
    from transformers import pipeline

    assert sorted(path.name for path in whole.output.iterdir()) == [
        "README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        "training.json",
    ]
    answers = pipeline("text-classification", model=str(whole.output), top_k=None)(
        ["word1 word2 word3", "word12"]
    )
    table = pa.table({"source": pa.array([[2, 6, 7, 8, 3], [2, 17, 3]], pa.list_(pa.int32()))})
    for answer, expected in zip(
        answers, classify_probabilities(whole.output, table, 1), strict=True
    ):
        scores = {entry["label"]: entry["score"] for entry in answer}
        assert [scores[label] for label in LABELS] == pytest.approx(expected.tolist(), abs=1e-5)


def test_no_pickle_and_no_path_of_this_machine(whole: Runs) -> None:
    files = [path for path in whole.folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".csv", ".md", ".safetensors"}
    for path in whole.output.iterdir():
        assert str(whole.folder.parent).encode() not in path.read_bytes()
    assert read_json(whole.output / "training.json")["steps"] == 30


@pytest.mark.parametrize("step", [7, 14])
def test_sigterm_finishes_the_update_and_the_rest_is_the_same(
    runs: Runs, whole: Runs, step: int
) -> None:
    def stop(values: Mapping[str, float], at: int) -> None:
        if at == step:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match=f"SIGTERM after update {step} of 30") as raised:
        runs.run(on_log=stop)
    assert raised.value.exit_code == 143
    assert not runs.output.exists()
    runs.run()
    assert runs.digests() == whole.digests()


def test_sigterm_at_the_end_of_an_epoch_does_not_lose_its_validation(
    runs: Runs, whole: Runs
) -> None:
    def stop(values: Mapping[str, float], at: int) -> None:
        if at == 10 and "train/loss" in values:  # after the update, before the validation
            os.kill(os.getpid(), signal.SIGTERM)

    settings = FEW.model_copy(update={"log_every": 10})
    with pytest.raises(Interrupted, match="after update 10 of 30"):
        runs.run(settings, on_log=stop)
    runs.run(settings)
    for name in ("valid.csv", "model.safetensors"):
        assert runs.digests()[name] == whole.digests()[name]


CHILD = """
import os, signal, sys
from pathlib import Path
import pyarrow as pa, torch
from scratchformer.params import Finetune, Pretrained
from scratchformer.pretrained.finetuning.finetuning import finetune
from scratchformer.pretrained.models.loading import load_classifier
from scratchformer.pretrained.finetuning.tasks.classification import Classification
from scratchformer.checkpoints.checkpoint import Checkpoints

torch.set_num_threads(1)
rows = pa.ipc.open_file(sys.argv[2]).read_all()
model = load_classifier(Pretrained(kind="folder", name=sys.argv[1]), %r, 1)

def kill(values, step):
    if step == 28:
        os.kill(os.getpid(), signal.SIGKILL)

task = Classification(model, rows.slice(0, 150), rows.slice(150))
settings = Finetune.model_validate_json(sys.argv[4])
finetune(task, settings, 1, Checkpoints(Path(sys.argv[3])), kill, checkpoint_seconds=0.0)
"""


@pytest.mark.slow
def test_a_process_killed_in_the_middle_of_an_epoch_resumes_to_the_same_bytes(
    runs: Runs, whole: Runs
) -> None:
    arrow = runs.folder / "rows.arrow"
    with pa.ipc.new_file(str(arrow), runs.rows.schema) as writer:
        writer.write_table(runs.rows)
    arguments = (runs.tiny_bert, arrow, runs.checkpoints.folder, FEW.model_dump_json())
    child = ForkedPython([sys.executable, "-c", CHILD % LABELS, *map(str, arguments)])
    assert child.wait() == -signal.SIGKILL
    newest = max(runs.checkpoints.folder.glob("step-*"))
    assert newest.name == "step-00000027"  # between two rows of the history, within an epoch
    logged: list[int] = []
    runs.run(on_log=lambda values, step: logged.append(step))
    assert logged == [28, 30, 30]
    assert runs.digests() == whole.digests()


@pytest.mark.parametrize("optimizer", ["adafactor", "sgd", "rmsprop"])
def test_any_optimizer_resumes_to_the_same_bytes_and_its_state_is_counted(
    runs: Runs, optimizer: str
) -> None:
    settings = changed(epochs=2, optimizer=optimizer, learning_rate=0.001)

    def stop(values: Mapping[str, float], at: int) -> None:
        if at == 14:
            os.kill(os.getpid(), signal.SIGTERM)

    undisturbed = Runs(runs.tiny_bert, runs.rows, runs.folder / "undisturbed")
    undisturbed.folder.mkdir()
    undisturbed.run(settings)
    with pytest.raises(Interrupted):
        runs.run(settings, on_log=stop)
    (state,) = runs.checkpoints.folder.glob("step-00000014/optimizer.safetensors")
    model = load_classifier(Pretrained(kind="folder", name=str(runs.tiny_bert)), LABELS, 1)
    held = [each for each in load_file(state).values() if each.ndim]  # the rest counts updates
    assert sum(each.nbytes for each in held) == state_bytes(optimizer, model.parameters())
    runs.run(settings)
    assert runs.digests() == undisturbed.digests()


def test_a_finished_training_is_not_trained_again(runs: Runs, whole: Runs) -> None:
    runs.run()
    logged: list[int] = []
    runs.run(on_log=lambda values, step: logged.append(step))
    assert not logged
    assert runs.digests() == whole.digests()


def test_a_damaged_checkpoint_is_not_trusted(runs: Runs, whole: Runs) -> None:
    def stop(values: Mapping[str, float], at: int) -> None:
        if at == 21:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        runs.run(on_log=stop)
    (weights,) = runs.checkpoints.folder.glob("step-00000021/model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    logged: list[int] = []
    runs.run(on_log=lambda values, step: logged.append(step))
    assert min(logged) == 21  # from the checkpoint of update 20
    assert runs.digests() == whole.digests()


def test_frozen_parameters_do_not_move_and_take_no_part_in_backward(runs: Runs) -> None:
    settings = changed(freeze="embeddings", frozen_layers=1, epochs=1)
    before = load_classifier(Pretrained(kind="folder", name=str(runs.tiny_bert)), LABELS, 1)
    report = runs.run(settings)
    after = load_classifier(Pretrained(kind="folder", name=str(runs.output)), LABELS, 1)
    still = {
        name
        for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True)
        if torch.equal(old, new)
    }
    frozen = {
        name for name, _ in before.named_parameters()
        if ".embeddings." in name or ".layer.0." in name
    }
    assert still == frozen
    assert len(frozen) == 5 + 16
    assert report.trained_parameters == sum(
        p.numel() for name, p in before.named_parameters() if name not in frozen
    )
    freeze(before, "embeddings", 1)
    before.train()
    below = before.bert.encoder.layer[0].output.LayerNorm
    seen: list[bool] = []
    below.register_forward_hook(lambda module, inputs, output: seen.append(output.requires_grad))
    before(input_ids=torch.tensor([[2, 6, 3]])).logits.sum().backward()
    assert seen == [False]


def test_more_frozen_layers_than_there_are(runs: Runs) -> None:
    with pytest.raises(ParamsError, match="frozen_layers: 4, but BertModel has 3 layers"):
        runs.run(changed(freeze="embeddings", frozen_layers=4))


def test_patience_stops_a_training_that_gets_no_better(runs: Runs) -> None:
    report = runs.run(changed(learning_rate=1e-12, patience=2, epochs=8))
    valid = [(float(row[2]), -float(row[1])) for row in runs.curve("valid")[1:]]
    best = valid.index(max(valid))
    assert report.stop_reason == StopReason.PATIENCE
    assert report.best_step == (best + 1) * UPDATES_AN_EPOCH
    assert report.steps == (best + 3) * UPDATES_AN_EPOCH < 80
    assert int(runs.curve("train")[-1][0]) == report.steps


def test_a_loss_that_is_not_a_number_stops_the_training(runs: Runs) -> None:
    with pytest.raises(GateError, match=r"loss is (nan|inf).*lower finetune\.learning_rate"):
        runs.run(changed(learning_rate=1e30, warmup_share=0.0))


def test_class_weights_are_one_on_average() -> None:
    labels = np.array([0, 0, 0, 1])
    weights = class_weights(labels, 3)
    assert weights[:2].tolist() == pytest.approx([4 / 9, 4 / 3])
    assert weights[labels].sum().item() == pytest.approx(4 * 2 / 3)  # of 3 classes 2 have rows


def test_a_process_that_sees_two_gpus_trains_on_one(
    runs: Runs, whole: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers would take both by DataParallel, in batches twice as large."""
    from transformers import Trainer, TrainingArguments

    monkeypatch.setattr(TrainingArguments, "n_gpu", property(lambda self: 2))
    wrapped: list[str] = []
    wrap = Trainer._wrap_model

    def watched(self: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        wrapped.append(type(wrap(self, model, *args, **kwargs)).__name__)
        return model

    monkeypatch.setattr(Trainer, "_wrap_model", watched)
    runs.run()
    assert set(wrapped) == {"BertForSequenceClassification"}
    assert runs.digests() == whole.digests()
