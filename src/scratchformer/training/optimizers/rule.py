"""What an optimizer is: a pure function from (weight, gradient, state, step) to the next weight.

Each file beside this one holds one rule with its equation. `explicit` runs a rule on a model.
"""

from typing import Protocol

from torch import Tensor

State = dict[str, Tensor]
"""What a rule remembers of one weight between two updates, by name."""


class Rule(Protocol):
    """One optimizer with its constants."""

    def initial_state(self, weight: Tensor) -> State:
        """What is remembered before the first update."""
        ...

    def update(
        self, weight: Tensor, gradient: Tensor, state: State, step: int, learning_rate: float
    ) -> tuple[Tensor, State]:
        """The weight and the state after update number `step`, counted from 1.

        Nothing that is handed in is changed.
        """
        ...
