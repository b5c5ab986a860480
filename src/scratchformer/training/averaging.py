"""Averages of weights: what is validated, kept as the best and saved may be smoother than the last.

Updates go back and forth around a minimum; a mean over them lies closer to it (Polyak & Juditsky
1992). The training itself does not notice: gradients are taken at the weights, never at their mean.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from scratchformer.base.registry import Registry
from scratchformer.params import AveragingSettings

Weights = dict[str, Tensor]
Parameters = Mapping[str, nn.Parameter]


class Averaging(ABC):
    """See the subclasses; made by `make_averaging`.

    Attributes:
        copies: of the weights that are held, and written to every checkpoint.
    """

    copies = 0

    def __init__(self, settings: Any) -> None:
        self.held: list[Weights] = []

    def after_update(self, parameters: Parameters, step: int) -> None:  # noqa: B027
        """Update number `step`, counted from 1, was made. Some need not know."""

    @abstractmethod
    def at_validation(self, parameters: Parameters) -> Weights | None:
        """The weights to validate; None for the parameters as they are."""

    @contextmanager
    def applied(self, parameters: Parameters) -> Iterator[None]:
        """Inside, the parameters are their average; afterwards what they were, to the last bit."""
        average = self.at_validation(parameters)
        if average is None:
            yield
            return
        before = _copy(parameters)
        _write(parameters, average)
        try:
            yield
        finally:
            _write(parameters, before)

    def restart(self, parameters: Parameters) -> None:
        """The weights were put back to those of a validation: forget what came after it."""
        self.held = [_copy(parameters) for _ in self.held[:1]]

    def tensors(self) -> Weights:
        """What a resumed training needs, fit for safetensors."""
        return {
            f"{place}.{name}": tensor
            for place, weights in enumerate(self.held)
            for name, tensor in weights.items()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Undo `tensors`."""
        found: dict[int, Weights] = {}
        for key, tensor in tensors.items():
            place, name = key.split(".", 1)
            found.setdefault(int(place), {})[name] = tensor
        self.held = [found[place] for place in sorted(found)]


class NoAverage(Averaging):
    """The weights of the last update."""

    def at_validation(self, parameters: Parameters) -> None:
        return None


class ExponentialAverage(Averaging):
    """a ← δ·a + (1-δ)·w after every update, δ = min(decay, (1 + t) / (10 + t)).

    The second term lets the average forget the first weights, which are noise, while it is young
    (as TensorFlow's ExponentialMovingAverage with `num_updates`).
    """

    copies = 1

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self._decay: float = settings.decay

    @torch.no_grad()
    def after_update(self, parameters: Parameters, step: int) -> None:
        if not self.held:
            self.held = [_copy(parameters)]
            return
        fresh = 1 - min(self._decay, (1 + step) / (10 + step))
        average = self.held[0]
        torch._foreach_lerp_(
            [average[name] for name in parameters], list(parameters.values()), fresh
        )

    def at_validation(self, parameters: Parameters) -> Weights | None:
        return self.held[0] if self.held else None


class LastMean(Averaging):
    """The mean of the weights at the last `validations` validations, this one among them.

    Vaswani et al. 2017, section 6.1, average the last 5 checkpoints; the published recipes for
    translation do the same.
    """

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.copies: int = settings.validations

    def at_validation(self, parameters: Parameters) -> Weights:
        self.held = [*self.held, _copy(parameters)][-self.copies :]
        return {
            name: torch.stack([weights[name] for weights in self.held]).mean(dim=0)
            for name in parameters
        }


AVERAGES: Registry[type[Averaging]] = Registry(
    "average", {"none": NoAverage, "exponential": ExponentialAverage, "last": LastMean}
)


def make_averaging(settings: AveragingSettings) -> Averaging:
    """The averaging that `train_scratch.averaging` chooses.

    Raises:
        ParamsError: there is none of that kind.
    """
    return AVERAGES[settings.kind](settings)


def _copy(parameters: Parameters) -> Weights:
    return {name: parameter.detach().clone() for name, parameter in parameters.items()}


@torch.no_grad()
def _write(parameters: Parameters, weights: Weights) -> None:
    for name, parameter in parameters.items():
        parameter.copy_(weights[name])
