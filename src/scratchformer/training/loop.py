"""The training loop: updates, validations, checkpoints, and the ways to stop.

Everything that decides the bytes of the result is in `TrainingState` (state.py) or is counted
(randomness.py), so a training that was killed at any moment and resumed from its checkpoint ends
with the same weights and the same curves as one that was left alone.

Several processes make the updates of one: each takes a share of the forward passes of an update
(whose dropout depends on their place alone), gradients and losses are summed, and every process
makes the same update. The first one reads and writes.
"""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from signal import Signals
from typing import Any

import torch
from torch import Tensor

from scratchformer.base.errors import Interrupted
from scratchformer.base.phases import phase
from scratchformer.base.terminal import say
from scratchformer.checkpoints.checkpoint import Checkpoint, Checkpoints
from scratchformer.checkpoints.signals import StopRequest, stop_on_signals
from scratchformer.data.tokenized.batches import Batch, TokenBatches
from scratchformer.monitoring.stop_reason import StopReason
from scratchformer.params import TrainScratch
from scratchformer.runtime.device import device_of, seed_device
from scratchformer.runtime.distributed import all_reduce_max, all_reduce_sum, sum_gradients
from scratchformer.runtime.processes import dealt, rank
from scratchformer.runtime.randomness import derive_seed
from scratchformer.training.averaging import make_averaging
from scratchformer.training.diagnostics import Diagnosis
from scratchformer.training.first import checkpoint_of_first
from scratchformer.training.flops import utilisation_of
from scratchformer.training.not_finite import (
    MAX_LEFT_OUT,
    NotFiniteError,
    first_not_finite,
    put_back,
    write_evidence,
)
from scratchformer.training.objectives.objective import Objective
from scratchformer.training.optimizers.optimizer import (
    make_optimizer,
    optimizer_tensors,
    restore_optimizer,
    set_learning_rate,
    state_bytes,
)
from scratchformer.training.recorder import OnLog, OnSamples, Recorder
from scratchformer.training.schedule import learning_rate
from scratchformer.training.state import TrainingState


class Training:
    """One training of one model.

    Args:
        objective: the model with what it minimises.
        batches: the training split.
        settings: section `train_scratch` of params.yaml.
        seed: of dropout (the order of the batches is in `batches`).
        checkpoints: where to go on from, and where to write.
        on_log, on_samples: see `Recorder`.
        before_first: is called before the first update, not when a checkpoint is taken up; by the
            first of several processes.
        checkpoint_seconds: a checkpoint is written at each validation, and at the latest after
            this time. When they are written does not change the result.
    """

    def __init__(
        self,
        objective: Objective,
        batches: TokenBatches,
        settings: TrainScratch,
        seed: int,
        checkpoints: Checkpoints,
        on_log: OnLog = lambda values, step: None,
        on_samples: OnSamples = lambda step, samples: None,
        before_first: Callable[[], None] = lambda: None,
        checkpoint_seconds: float = 60.0,
    ) -> None:
        self.objective, self.model = objective, objective.model
        self.device = device_of(self.model)
        self.batches, self.settings, self.seed = batches, settings, seed
        self.checkpoints = checkpoints
        self.before_first = before_first
        self.checkpoint_seconds = checkpoint_seconds
        self.state = TrainingState()
        self.optimizer = make_optimizer(self.model, settings.optimizer)
        self.parameters = dict(self.model.named_parameters())
        self.averaging = make_averaging(settings.averaging)
        self.best: dict[str, Tensor] = {}
        self.recorder = Recorder(checkpoints.folder / "history", objective, on_log, on_samples)

    def run(self) -> TrainingState:
        """Train to the end, from the newest checkpoint if there is one; leaves the best weights.

        Raises:
            Interrupted: SIGTERM or SIGINT; the checkpoint of the last update is in place.
            NotFiniteError: see there.
            DiskFullError: no room for checkpoints.
        """
        self._start()
        settings, state = self.settings, self.state
        utilisation = utilisation_of(self.model, self.batches, self.objective.loss.passes)
        with (
            stop_on_signals() as stop,
            self.recorder.running(settings.max_steps, state.step, utilisation),
        ):
            self.checkpointed = time.monotonic()
            while not state.stop_reason:
                self.update()
                last = state.step == settings.max_steps
                self.recorder.window(state, due=last or state.step % settings.log_every == 0)
                due = last or state.step % settings.validate_every == 0
                if due:
                    with self.recorder.pause(), self.averaging.applied(self.parameters):
                        self._validate()
                asked, due = self._agree(stop, due or self._checkpoint_is_due())
                if asked or due:
                    with phase("checkpoints"):
                        self._checkpoint()
                    self.checkpointed = time.monotonic()
                if asked and not state.stop_reason:
                    raise Interrupted(
                        f"stopped by {asked.name} after step {state.step}; its checkpoint is in "
                        f"{self.checkpoints.folder}, the same command goes on from there",
                        asked,
                    )
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(self.best[name])
        return state

    def update(self) -> None:
        """One update: the gradient of `accumulate` batches, clipped, through AdamW."""
        settings, state = self.settings, self.state
        step = state.step + 1
        first = state.step * settings.accumulate
        batches = [self.batches.batch(first + place) for place in range(settings.accumulate)]
        tokens = sum(batch.tokens for batch in batches)
        diagnosis = None
        if settings.diagnose_every and step % settings.diagnose_every == 0:
            seed_device(self.device, derive_seed(self.seed, "dropout", step))
            diagnosis = Diagnosis(self.objective, self.batches, batches[0])
        (loss,) = all_reduce_sum(
            [self._backward(step, dealt(enumerate(batches)), tokens)], self.device
        )
        sum_gradients(self.parameters.values())
        if diagnosis:
            diagnosis.take_gradients(tokens)
        norm = torch.nn.utils.clip_grad_norm_(
            self.parameters.values(), settings.clip_norm, foreach=True
        ).item()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._not_finite(step, loss, norm, batches, tokens)
            return
        rate = learning_rate(
            step,
            settings.schedule,
            settings.optimizer.learning_rate / 2**state.rolled_back,
            settings.warmup_steps,
            settings.max_steps,
        )
        set_learning_rate(self.optimizer, rate)
        if diagnosis:
            diagnosis.take_weights()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.averaging.after_update(self.parameters, step)
        state.step = step
        state.tokens += tokens
        state.window_loss += loss
        state.window_tokens += tokens
        state.window_norm += norm
        state.window_updates += 1
        state.learning_rate = rate
        self.recorder.update(batches)
        if diagnosis:
            self.recorder.row("diagnostics", step, diagnosis.values())

    def _backward(self, step: int, batches: Iterable[tuple[int, Batch]], tokens: int) -> float:
        """Loss of these batches, each with its place in the update of `tokens`, summed over
        tokens; their part of its gradient is added to the parameters."""
        loss = 0.0
        for place, batch in batches:
            seed_device(self.device, derive_seed(self.seed, "dropout", step, place))
            loss += self.objective.backward(batch, tokens)
        return loss

    def _validate(self) -> None:
        """Score the validation split, keep the weights if they are the best, decide to stop."""
        state, settings = self.state, self.settings
        found = self.objective.validate()
        values = dict(found.values)
        if not math.isfinite(values["loss"]):
            raise NotFiniteError(
                f"step {state.step}: the validation loss is {values['loss']}; lower "
                "train_scratch.optimizer.learning_rate"
            )
        self.recorder.validation(state.step, found)
        if not state.best_values or values["loss"] < state.best_values["loss"]:
            state.best_step, state.best_values = state.step, values
            state.validations_without_better = 0
            self.best = {name: p.detach().clone() for name, p in self.parameters.items()}
        else:
            state.validations_without_better += 1
        if state.step == settings.max_steps:
            state.stop_reason = StopReason.MAX_STEPS
        elif state.validations_without_better >= settings.patience:
            state.stop_reason = StopReason.PATIENCE

    def _not_finite(
        self, step: int, loss: float, norm: float, batches: list[Batch], tokens: int
    ) -> None:
        """Do without an update whose loss or gradient is not finite, or stop."""
        state, policy = self.state, self.settings.not_finite
        every = list(enumerate(batches))  # also those of the other processes
        where = first_not_finite(self.model, lambda: self._backward(step, every, tokens))
        message = write_evidence(self.checkpoints.folder, step, loss, norm, batches, where)
        if state.left_out >= MAX_LEFT_OUT[policy] or (policy == "rollback" and not self.best):
            often = f" (after {state.left_out} that were left out)" if state.left_out else ""
            raise NotFiniteError(
                f"{message}{often}. Lower train_scratch.optimizer.learning_rate "
                "or lengthen warmup_steps"
            )
        state.step = step
        state.left_out += 1
        if policy == "rollback":
            put_back(self.parameters, self.best, self.optimizer)
            self.averaging.restart(self.parameters)
            state.rolled_back += 1
        counts = {"left_out": state.left_out, "rolled_back": state.rolled_back}
        self.recorder.row("not_finite", step, counts)
        say(f"{message}. {policy}: training goes on without this update")

    def _agree(self, stop: StopRequest, due: bool) -> tuple[Signals | None, bool]:
        """The signal that any of the processes got, and whether any finds a checkpoint due."""
        asked, late = all_reduce_max([stop.signal_number or 0, due], self.device)
        return Signals(int(asked)) if asked else None, bool(late)

    # --- going on after a kill ----------------------------------------------------------------

    def _start(self) -> None:
        """Take up the newest checkpoint, or begin."""
        self.model.train()
        found = checkpoint_of_first(None if rank() else self._find_checkpoint(), self.device)
        if found is None:
            return
        facts = dict(found.facts)
        del facts["history"]
        self.state = TrainingState(step=found.step, **facts)
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(found.tensors["model"][name])
        restore_optimizer(self.model, self.optimizer, dict(found.tensors["optimizer"]))
        self.best = dict(found.tensors.get("best", {}))
        averages = found.tensors.get("average", {})
        self.averaging.restore({name: t.to(self.device) for name, t in averages.items()})
        say(f"resuming after step {found.step} of {self.settings.max_steps}")

    def _find_checkpoint(self) -> Checkpoint | None:
        """The newest one; without one, everything is made ready for the first update."""
        self.checkpoints.tidy()
        weights = sum(p.numel() * p.element_size() for p in self.parameters.values())
        optimizer = state_bytes(self.model, self.settings.optimizer)
        copies = 2 + self.averaging.copies  # the weights, the best of them, and averages
        self.checkpoints.check_space(copies * weights + optimizer)
        history = self.recorder.history
        found = self.checkpoints.newest(lambda facts: history.damage(facts["history"]))
        if found is None:
            with phase("gates"):
                self.before_first()
            history.start()
        else:
            history.cut(found.facts["history"])
        return found

    def _checkpoint(self) -> None:
        if rank():
            return
        facts: dict[str, Any] = asdict(self.state)
        tensors = {
            "model": {name: p.detach() for name, p in self.parameters.items()},
            "optimizer": optimizer_tensors(self.model, self.optimizer),
        }
        if self.best:
            tensors["best"] = self.best
        if self.averaging.held:
            tensors["average"] = self.averaging.tensors()
        facts["history"] = self.recorder.history.extents()
        self.checkpoints.write(Checkpoint(facts.pop("step"), tensors, facts))

    def _checkpoint_is_due(self) -> bool:
        return time.monotonic() - self.checkpointed >= self.checkpoint_seconds
