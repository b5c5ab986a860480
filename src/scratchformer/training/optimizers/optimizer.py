"""AdamW with weight decay on matrices only, and its state as named tensors."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn


def make_optimizer(model: nn.Module, weight_decay: float) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019) over all parameters that are trained.

    Decay pulls weights towards zero. For matrices that bounds the size of what they compute; a
    bias or the gain of a normalisation has no such reason to be small and is left alone.

    Betas are the paper's (0.9, 0.98): with the usual 0.999 the second moments would average over
    longer than a short training lasts. The learning rate is set before every update.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=0.0,
        betas=(0.9, 0.98),
        eps=1e-9,
        fused=True,  # one pass over the memory instead of ten
    )


def _named_trained(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, p) for name, p in model.named_parameters() if p.requires_grad)


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as `{quantity}.{parameter}` → tensor, fit for safetensors."""
    return {
        f"{quantity}.{name}": tensor
        for name, parameter in _named_trained(model)
        for quantity, tensor in sorted(optimizer.state[parameter].items())
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
        optimizer.state[parameters[name]][quantity] = tensor
