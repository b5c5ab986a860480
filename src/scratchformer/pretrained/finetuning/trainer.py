"""The Trainer of transformers, made exactly resumable and free of pickles.

transformers saves the optimizer, the random generators and its own arguments as pickles, and with
length grouping a resumed run is another run. This subclass replaces the order and what is saved:

* Randomness is counted: the order of epoch e and the dropout of update s are functions of
  (seed, e) and (seed, s) (`LengthGroupedSampler`, `training_step`). No generator state is kept.
* Checkpoints are those of `scratchformer.checkpoints.checkpoint`: safetensors and JSON, whole or
  absent. Frozen weights are not in them; they are those of the pretrained model.

It also validates in its own way: the task scores the model without label smoothing, and the best
weights are kept in memory (one more copy of what is trained) until the end.

Several processes (`torchrun`, `accelerate launch`) share every batch and the validation, see
`runtime/distributed.py`; the first one writes.
"""

import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from accelerate.data_loader import prepare_data_loader
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerState, TrainingArguments

from scratchformer.base.errors import GateError
from scratchformer.base.phases import phase
from scratchformer.checkpoints.checkpoint import Checkpoint, Checkpoints
from scratchformer.monitoring.history import History
from scratchformer.monitoring.stop_reason import StopReason
from scratchformer.monitoring.throughput import COLUMNS, Throughput
from scratchformer.pretrained.finetuning.collation import collate_share, count_tokens
from scratchformer.pretrained.finetuning.flops import shape_of
from scratchformer.pretrained.finetuning.optimizer_state import (
    put_together,
    state_bytes,
    taken_apart,
)
from scratchformer.pretrained.finetuning.sampler import LengthGroupedSampler
from scratchformer.pretrained.finetuning.tasks.task import FinetuneTask
from scratchformer.runtime.device import seed_device
from scratchformer.runtime.distributed import all_reduce_sum, wait_for_first
from scratchformer.runtime.randomness import derive_seed


@dataclass
class Window:
    """What happened since the last row of the history."""

    loss: float = 0.0  # sum over items, nats
    items: int = 0  # rows of a classification, target tokens of a sequence task
    tokens: int = 0  # input tokens without padding
    updates: int = 0
    gradient_norm: float = 0.0  # before clipping, sum over updates
    learning_rate: float = 0.0  # of the last update


@dataclass
class Progress:
    """What a resumed run must know besides the tensors and the Trainer's own state."""

    window: Window = field(default_factory=Window)
    tokens: int = 0  # input tokens since the start
    train_loss: float | None = None  # of the last row of the history
    best_step: int = 0
    best: dict[str, float] = field(default_factory=dict)  # validation scores at the best step
    stop_reason: StopReason | None = None  # set when the training is over

    def __post_init__(self) -> None:
        if self.stop_reason:  # a string where it comes from JSON
            self.stop_reason = StopReason(self.stop_reason)

    def take_window(self) -> Window:
        """The window so far; a new one begins."""
        window, self.window = self.window, Window()
        self.tokens += window.tokens
        self.train_loss = window.loss / window.items
        return window


def updates_an_epoch(state: TrainerState) -> int:
    return int(state.max_steps // state.num_train_epochs)


class ResumableTrainer(Trainer):  # type: ignore[misc]
    """See the head of this file.

    Args:
        task: model, training rows and validation; parameters with `requires_grad` are trained.
        args: `output_dir` is the folder of `checkpoints`; this trainer is its only writer.
        checkpoints: where to go on from, and where to write. The curves are in `history/` there.
        loss: (outputs, labels, number of items) → loss, the mean over items.
        patience: validations without a better score before training stops.
    """

    def __init__(
        self,
        task: FinetuneTask,
        args: TrainingArguments,
        checkpoints: Checkpoints,
        loss: Callable[..., Tensor],
        patience: int,
    ) -> None:
        super().__init__(
            model=task.model,
            args=args,
            train_dataset=range(len(task.lengths)),  # the collator looks the rows up
            eval_dataset=range(1),  # asked for by the arguments; `evaluate` scores on its own
            data_collator=collate_share(task.collate),
            compute_loss_func=loss,
        )
        self.task, self.patience = task, patience
        self.progress = Progress()
        # The curves of the other processes are the same ones; nobody reads them.
        self._unread = tempfile.TemporaryDirectory() if args.process_index else None
        self.throughput = Throughput()
        self.history = History(
            Path(self._unread.name if self._unread else checkpoints.folder) / "history",
            {
                "train": ("loss", "learning_rate", "gradient_norm", "tokens"),
                "valid": task.columns,
                "speed": COLUMNS,
            },
        )
        self.best_weights: Mapping[str, Tensor] = {}
        self._checkpoints = checkpoints
        self._resumed: Checkpoint | None = None

    def find_checkpoint(self) -> int:
        """Take up the newest sound checkpoint, if any; returns the updates it holds."""
        found = self._find_to_write() if self.args.should_save else None
        wait_for_first(self.args.device)  # until what is damaged is gone
        if not self.args.should_save:
            self.history.start()
            found = self._checkpoints.newest(lambda facts: None)
        if found is None:
            return 0
        values = dict(found.facts["progress"])
        self.progress = Progress(window=Window(**values.pop("window")), **values)
        self.best_weights = found.tensors["best"]
        self.state = TrainerState(**found.facts["trainer"])
        self._resumed = found
        return found.step

    def _find_to_write(self) -> Checkpoint | None:
        self._checkpoints.tidy()
        trained = self.trained_weights().values()
        weights = 4 * sum(weight.numel() for weight in trained)
        state = state_bytes(self.args.optim, trained)
        self._checkpoints.check_space(2 * weights + state)  # with the best weights
        found = self._checkpoints.newest(lambda facts: self.history.damage(facts["history"]))
        if found is None:
            self.history.start()
        else:
            self.history.cut(found.facts["history"])
        return found

    def train_to_the_end(self) -> None:
        """Train, from the checkpoint that was found; the model then holds the best weights."""
        if self.progress.stop_reason is None:
            if self._resumed is None:
                self.train()
            else:
                # The Trainer reads its own state from a file of this name in its folder.
                if self.args.should_save:
                    self.state.save_to_json(str(self._checkpoints.folder / "trainer_state.json"))
                wait_for_first(self.args.device)
                self.train(resume_from_checkpoint=str(self._checkpoints.folder))
        self._put_into_model(self.best_weights)

    def trained_weights(self) -> dict[str, Tensor]:
        """Name → parameter, of those that are trained. Tied parameters appear once."""
        return {n: p.detach() for n, p in self.model.named_parameters() if p.requires_grad}

    # --- what the Trainer calls ---------------------------------------------------------------

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedSampler:
        return LengthGroupedSampler(self.task.lengths, self._train_batch_size, self.args.seed)

    def get_train_dataloader(self) -> Any:
        """The same whole batches for every process, of which the collator takes the share.

        Left to itself, accelerate would deal out batch after batch, fill up a last batch that is
        not full with rows of others, and after a resume take the order of epoch 0.
        """
        if self.args.world_size == 1:
            return super().get_train_dataloader()
        batches: DataLoader[int] = DataLoader(
            self.train_dataset,
            self._train_batch_size,
            sampler=self._get_train_sampler(),
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )
        return prepare_data_loader(
            batches, self.args.device, num_processes=1, process_index=0, put_on_device=True
        )

    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> Tensor:
        """One forward and backward pass, with the dropout of this (seed, update)."""
        step, process = self.state.global_step, self.args.process_index
        seed_device(self.args.device, derive_seed(self.args.seed, "dropout", step, process))
        shape, share_tokens = shape_of(inputs), count_tokens(inputs)
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        items = int(num_items_in_batch)
        share = loss.item() / self.args.world_size  # see `runtime/distributed.py`
        value, tokens = all_reduce_sum([share, share_tokens], self.args.device)
        if not math.isfinite(value):
            raise GateError(
                f"the training loss is {value} at update {step + 1}: training diverged; lower "
                f"finetune.learning_rate (now {self.args.learning_rate:g})"
            )
        window = self.progress.window
        window.loss += value * items
        window.items += items
        window.tokens += int(tokens)
        self.throughput.add(shape, int(tokens))
        window.learning_rate = self._get_learning_rate()
        return loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        self.progress.window.gradient_norm += float(norm)
        self.progress.window.updates += 1
        return norm

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Score the model on the validation split, keep the best weights, stop without progress."""
        start = time.monotonic()
        with phase("validation"):
            known = self.task.score()
        scores = {column: known[column] for column in self.task.columns}
        self.throughput.leave_out(time.monotonic() - start)
        progress, step = self.progress, self.state.global_step
        if not progress.best or self.task.better(scores) > self.task.better(progress.best):
            progress.best_step, progress.best = step, scores
            self.best_weights = {n: p.cpu().clone() for n, p in self.trained_weights().items()}
        if step >= self.state.max_steps:
            progress.stop_reason = StopReason.MAX_STEPS
        elif step - progress.best_step >= self.patience * updates_an_epoch(self.state):
            progress.stop_reason = StopReason.PATIENCE
            self.control.should_training_stop = True
        self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics=scores)
        return scores

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if not self.args.should_save:
            return
        state, numbers = taken_apart(self.optimizer.state_dict()["state"])
        schedule = self.lr_scheduler.state_dict()
        del schedule["lr_lambdas"]  # the function itself; `create_scheduler` makes it anew
        tensors = {
            "model": self.trained_weights(), "best": self.best_weights, "optimizer": state,
        }
        facts = {
            "trainer": asdict(self.state),
            "schedule": schedule,
            "optimizer": numbers,
            "progress": asdict(self.progress),
            "history": self.history.extents(),
        }
        with phase("checkpoints"):
            self._checkpoints.write(Checkpoint(self.state.global_step, tensors, facts))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        assert self._resumed
        self._put_into_model(self._resumed.tensors["model"])

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if self._resumed is None:
            return
        found = self._resumed
        state = put_together(found.tensors["optimizer"], found.facts["optimizer"])
        schedule = self._resumed.facts["schedule"]
        groups = self.optimizer.state_dict()["param_groups"]
        for group, rate in zip(groups, schedule["_last_lr"], strict=True):
            group["lr"] = rate
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.lr_scheduler.load_state_dict(
            {**schedule, "lr_lambdas": self.lr_scheduler.state_dict()["lr_lambdas"]}
        )
        self._resumed = None  # frees the memory

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Nothing to load: see `training_step`."""

    def _put_into_model(self, weights: Mapping[str, Tensor]) -> None:
        parameters = self.trained_weights()
        if parameters.keys() != weights.keys():
            raise ValueError("the checkpoint holds other parameters than the model trains")
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])
