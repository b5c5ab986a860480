"""Where a training stands."""

from dataclasses import dataclass, field

from scratchformer.monitoring.stop_reason import StopReason


@dataclass
class TrainingState:
    """All that a resumed training needs beside tensors. Goes through JSON without loss."""

    step: int = 0  # updates done
    tokens: int = 0  # target tokens seen
    # Since the last row of train.csv:
    window_loss: float = 0.0  # summed over tokens
    window_tokens: int = 0
    window_norm: float = 0.0  # summed over updates
    window_updates: int = 0
    learning_rate: float = 0.0  # of the last update that was made
    # Of validation:
    best_step: int = 0
    best_values: dict[str, float] = field(default_factory=dict)
    validations_without_better: int = 0
    train_loss: float | None = None  # the last row of train.csv
    stop_reason: StopReason | None = None  # set once training is over
    # Updates whose loss or gradient was not finite (see not_finite.py):
    left_out: int = 0
    rolled_back: int = 0

    def __post_init__(self) -> None:
        if self.stop_reason:  # a string where it comes from JSON
            self.stop_reason = StopReason(self.stop_reason)
