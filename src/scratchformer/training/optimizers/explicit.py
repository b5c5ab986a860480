"""A rule at work on a model: torch's interface around the equations of this folder."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload

import torch
from torch import nn

from scratchformer.training.optimizers.rule import Rule


class ExplicitOptimizer(torch.optim.Optimizer):
    """Updates every parameter by its rule.

    Slower than the fused kernels of `torch.optim`, which do the same in one pass over the memory;
    made to be read, and to be compared with them. The state of a parameter is the rule's, and
    `step`, as a tensor, so that checkpoints hold it.

    Args:
        rules: each a rule, the parameters that it updates, and their share of the learning rate.
    """

    def __init__(self, rules: Sequence[tuple[Rule, Iterable[nn.Parameter], float]]) -> None:
        groups = [
            {"params": list(parameters), "rule": rule, "share": share}
            for rule, parameters, share in rules
        ]
        super().__init__([group for group in groups if group["params"]], {"lr": 0.0})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            rule: Rule = group["rule"]
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(rule, parameter, group["lr"])
        return loss

    def _update(self, rule: Rule, parameter: nn.Parameter, learning_rate: float) -> None:
        state: dict[str, Any] = self.state[parameter]
        if not state:
            state.update(rule.initial_state(parameter), step=torch.tensor(0.0))
        state["step"] += 1
        remembered = {name: tensor for name, tensor in state.items() if name != "step"}
        assert parameter.grad is not None
        weight, remembered = rule.update(
            parameter, parameter.grad, remembered, int(state["step"]), learning_rate
        )
        parameter.copy_(weight)
        state.update(remembered)
