"""From the section `train_scratch.optimizer` to an optimizer of a model, and its state as tensors.

Decay pulls weights towards zero. For matrices that bounds the size of what they compute; a bias or
the gain of a normalisation has no such reason to be small and is left alone.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from scratchformer.base.registry import Registry
from scratchformer.params import OptimizerSettings
from scratchformer.training.optimizers.adafactor import Adafactor
from scratchformer.training.optimizers.adam import Adam
from scratchformer.training.optimizers.explicit import ExplicitOptimizer
from scratchformer.training.optimizers.lion import Lion
from scratchformer.training.optimizers.muon import Muon
from scratchformer.training.optimizers.rule import Rule
from scratchformer.training.optimizers.sgd import SGD

Groups = list[dict[str, Any]]


@dataclass(frozen=True)
class Kind:
    """What `train_scratch.optimizer.kind` chooses.

    Attributes:
        rule: the equation, with the constants of the settings.
        fused: the same of torch, over groups with their `weight_decay`; None where it has none.
        inside: the rule of the matrices inside the layers, where that is another one.
    """

    rule: Callable[[Any], Rule]
    fused: Callable[[Groups, Any], torch.optim.Optimizer] | None = None
    inside: Callable[[Any], Rule] | None = None


def _adam(settings: Any) -> Adam:
    first, second = settings.betas
    decoupled = settings.kind != "adam"
    return Adam((first, second), settings.epsilon, settings.weight_decay, decoupled)


def _fused_adam(groups: Groups, settings: Any) -> torch.optim.Optimizer:
    """One pass over the memory instead of ten."""
    kind = torch.optim.AdamW if settings.kind == "adamw" else torch.optim.Adam
    first, second = settings.betas
    return kind(groups, lr=0.0, betas=(first, second), eps=settings.epsilon, fused=True)


def _fused_sgd(groups: Groups, settings: Any) -> torch.optim.Optimizer:
    momentum, nesterov = settings.momentum, settings.nesterov
    return torch.optim.SGD(groups, lr=0.0, momentum=momentum, nesterov=nesterov, fused=True)


OPTIMIZERS: Registry[Kind] = Registry(
    "optimizer",
    {
        "adamw": Kind(_adam, _fused_adam),
        "adam": Kind(_adam, _fused_adam),
        "sgd": Kind(lambda s: SGD(s.momentum, s.nesterov, s.weight_decay), _fused_sgd),
        "adafactor": Kind(
            lambda s: Adafactor(weight_decay=s.weight_decay),
            lambda groups, _: torch.optim.Adafactor(groups, lr=0.0),
        ),
        "lion": Kind(lambda s: Lion(tuple(s.betas), s.weight_decay)),
        "muon": Kind(_adam, inside=lambda s: Muon(s.momentum, s.nesterov, s.weight_decay)),
    },
)


def make_optimizer(model: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """The optimizer of all parameters that are trained; `set_learning_rate` before every update.

    Raises:
        ParamsError: there is no optimizer of that kind.
    """
    kind = OPTIMIZERS[settings.kind]
    if settings.implementation == "explicit" or kind.fused is None:
        return ExplicitOptimizer(_rules(model, settings))
    trained, weight_decay = _trained(model), settings.weight_decay
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return kind.fused([group for group in groups if group["params"]], settings)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """`rate` for every group, times the group's own `share` if it has one."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("share", 1.0)


def state_bytes(model: nn.Module, settings: OptimizerSettings) -> int:
    """What the optimizer's state takes on the disk, counted before there is any."""
    total = 0
    for rule, parameters, _ in _rules(model, settings):
        for parameter in parameters:
            state = rule.initial_state(torch.empty_like(parameter, device="meta"))
            total += sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    return total


def _rules(
    model: nn.Module, settings: OptimizerSettings
) -> list[tuple[Rule, list[nn.Parameter], float]]:
    """Each rule with its parameters and their share of the learning rate, none of them empty."""
    kind = OPTIMIZERS[settings.kind]
    rule: Any = kind.rule(settings)
    inside: list[nn.Parameter] = []
    parts: list[tuple[Rule, list[nn.Parameter], float]] = []
    share = getattr(settings, "adamw_share", 1.0)
    if kind.inside is not None:
        inside = [p for name, p in _named_trained(model) if ".layers." in name and p.ndim == 2]
        parts.append((kind.inside(settings), inside, 1.0))
    taken = set(map(id, inside))
    rest = [p for p in _trained(model) if id(p) not in taken]
    parts.append((rule, [p for p in rest if p.ndim >= 2], share))
    parts.append((replace(rule, weight_decay=0.0), [p for p in rest if p.ndim < 2], share))
    return [part for part in parts if part[1]]


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for _, parameter in _named_trained(model)]


def _named_trained(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, p) for name, p in model.named_parameters() if p.requires_grad)


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as `{quantity}.{parameter}` → tensor, fit for safetensors."""
    return {
        f"{quantity}.{name}": tensor
        for name, parameter in _named_trained(model)
        for quantity, tensor in sorted(optimizer.state[parameter].items())
        if isinstance(tensor, Tensor)  # torch's SGD without momentum remembers a None
    }


def restore_optimizer(
    model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    """Undo `optimizer_tensors`.

    The tensors belong to a checkpoint whose fingerprint is that of this model, so names agree.
    """
    parameters = dict(_named_trained(model))
    for key, tensor in tensors.items():
        quantity, name = key.split(".", 1)
        optimizer.state[parameters[name]][quantity] = tensor.to(parameters[name].device)
