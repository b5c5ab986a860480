"""What a training shows and writes down: curves, their mirror, decoded samples, a progress bar."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from scratchformer.base.mappings import curve_name
from scratchformer.base.phases import phase
from scratchformer.base.terminal import Progress, progress, say
from scratchformer.data.tokenized.batches import Batch
from scratchformer.monitoring.flops import Utilisation
from scratchformer.monitoring.history import History
from scratchformer.monitoring.throughput import COLUMNS, Throughput
from scratchformer.runtime.processes import rank
from scratchformer.training.diagnostics import diagnostic_columns
from scratchformer.training.flops import shape_of
from scratchformer.training.objectives.objective import Objective, Sample, Validation
from scratchformer.training.state import TrainingState

OnLog = Callable[[Mapping[str, float], int], None]
OnSamples = Callable[[int, list[Sample]], None]


class Recorder:
    """The one place that knows who wants to hear of an update, a row, a validation.

    It decides nothing and touches no weight: a training with another recorder, or a mirror that
    fails, ends with the same bytes.

    Args:
        folder: of the curves.
        objective: names the columns.
        on_log: gets every row of the curves, names like "train/loss", and its step.
        on_samples: gets the decoded rows of every validation.
    """

    def __init__(
        self, folder: Path, objective: Objective, on_log: OnLog, on_samples: OnSamples
    ) -> None:
        self.on_log, self.on_samples = on_log, on_samples
        self.history = History(
            folder,
            {
                "train": ("loss", "learning_rate", "gradient_norm", "tokens"),
                "valid": objective.columns,
                "speed": COLUMNS,
                "not_finite": ("left_out", "rolled_back"),
                "diagnostics": diagnostic_columns(objective.model),
            },
        )
        self._throughput = Throughput()

    @contextmanager
    def running(self, updates: int, done: int, utilisation: Utilisation) -> Iterator[None]:
        """Show how far a training of `updates` is, of which `done` were made before."""
        with progress("train_scratch", updates, done) as bar, phase("updates"):
            self._bar: Progress = bar
            self.utilisation = utilisation
            self._throughput.begin()
            yield

    def update(self, batches: list[Batch]) -> None:
        """An update was made from these batches."""
        for batch in batches:
            self._throughput.add(shape_of(batch), batch.tokens)

    def window(self, state: TrainingState, due: bool) -> None:
        """A step is over; write the row of the updates since the last one, where it is due.

        No row where all of them were left out. The window of `state` begins anew.
        """
        if not due or not state.window_updates:
            self._bar.advance()
            return
        loss = state.train_loss = state.window_loss / state.window_tokens
        values = {
            "loss": loss,
            "learning_rate": state.learning_rate,
            "gradient_norm": state.window_norm / state.window_updates,
            "tokens": state.tokens,
        }
        state.window_loss, state.window_tokens = 0.0, 0
        state.window_norm, state.window_updates = 0.0, 0
        speed = self._throughput.take(self.utilisation)
        self.row("train", state.step, values)
        self.row("speed", state.step, speed)
        pace = f"{speed['tokens_per_second']:,.0f}"
        self._bar.advance(1, **{"loss": f"{loss:.3f}", "tokens/s": pace})

    def validation(self, step: int, found: Validation) -> None:
        """Tell the scores of a validation, and its samples."""
        self.row("valid", step, found.values)
        shown = "  ".join(f"{name} {value:.4f}" for name, value in found.values.items())
        say(f"step {step}, validation: {shown}")
        self.on_samples(step, found.samples)

    def row(self, curve: str, step: int, values: Mapping[str, float]) -> None:
        """A row of a curve, to its file and to the mirror; by the first of several processes."""
        if rank():
            return
        self.history.add(curve, step, values)
        self.on_log({curve_name(curve, name): value for name, value in values.items()}, step)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """A validation: its time does not count as training."""
        start = time.monotonic()
        with phase("validation"):
            yield
        self._throughput.leave_out(time.monotonic() - start)
