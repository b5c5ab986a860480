"""What stands beside the Trainer while it works: the curves, the progress bar, and signals."""

import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

from transformers import TrainerCallback

from scratchformer.base.errors import Interrupted
from scratchformer.base.mappings import curve_name
from scratchformer.base.terminal import Progress as Bar
from scratchformer.base.terminal import say
from scratchformer.checkpoints.signals import StopRequest
from scratchformer.monitoring.flops import Utilisation
from scratchformer.monitoring.history import History
from scratchformer.monitoring.throughput import Throughput
from scratchformer.pretrained.finetuning.trainer import Progress, updates_an_epoch
from scratchformer.runtime.distributed import all_reduce_max

OnLog = Callable[[Mapping[str, float], int], None]


class Watch(TrainerCallback):  # type: ignore[misc]
    """Rows of the history, news on the terminal, checkpoints in time, and a clean stop.

    Only updates that a checkpoint has not seen write rows again after a resume, so the curves are
    those of a run that was never stopped.

    Args:
        progress: of the trainer, which owns these callbacks and is not known to them.
        history: the curves that rows are added to.
        throughput: the times since the last row.
        log_every: updates between two rows.
        checkpoint_seconds: a checkpoint is asked for when the last one is older.
    """

    def __init__(
        self,
        progress: Progress,
        history: History,
        throughput: Throughput,
        log_every: int,
        checkpoint_seconds: float,
        on_log: OnLog,
        bar: Bar,
        stop: StopRequest,
        utilisation: Utilisation,
    ) -> None:
        self._progress, self._history, self._throughput = progress, history, throughput
        self._log_every, self._on_log = log_every, on_log
        self._checkpoint_seconds = checkpoint_seconds
        self._bar, self._stop, self._utilisation = bar, stop, utilisation
        self._last_save = time.monotonic()
        throughput.begin()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        step = state.global_step
        self._bar.advance(1)
        if step % self._log_every == 0:
            self._log_row(step)
        late = time.monotonic() - self._last_save > self._checkpoint_seconds
        # At the end of an epoch the validation comes first; it saves in any case.
        if any(self._agree(args.device, late)) and step % updates_an_epoch(state):
            control.should_save = True

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any
    ) -> None:
        step = state.global_step
        if self._progress.stop_reason and self._progress.window.items:
            self._log_row(step)  # the updates since the last full row
        self._history.add("valid", step, metrics)
        self._on_log({curve_name("valid", name): value for name, value in metrics.items()}, step)
        shown = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        say(f"epoch {state.epoch:g} of {state.num_train_epochs}: validation {shown}")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._last_save = time.monotonic()
        number = self._agree(args.device)[0]
        if number and not self._progress.stop_reason:
            raise Interrupted(
                f"stopped by {signal.Signals(number).name} after update {state.global_step:,} of "
                f"{state.max_steps:,}; the same command goes on from there",
                number,
            )

    def _agree(self, device: Any, late: bool = False) -> tuple[int, bool]:
        """The signal that any of the processes got, or 0, and whether any of them is late."""
        number, any_late = all_reduce_max([self._stop.signal_number or 0, float(late)], device)
        return int(number), bool(any_late)

    def _log_row(self, step: int) -> None:
        window = self._progress.take_window()
        values = {
            "loss": window.loss / window.items,
            "learning_rate": window.learning_rate,
            "gradient_norm": window.gradient_norm / window.updates,
            "tokens": self._progress.tokens,
        }
        speed = self._throughput.take(self._utilisation)
        self._history.add("train", step, values)
        self._history.add("speed", step, speed)
        named = {curve_name("train", name): value for name, value in values.items()}
        of_speed = {curve_name("speed", name): value for name, value in speed.items()}
        self._on_log(named | of_speed, step)
        self._bar.advance(
            0,
            **{
                "loss": f"{values['loss']:.3f}",
                "tokens/s": f"{speed['tokens_per_second']:,.0f}",
            },
        )
