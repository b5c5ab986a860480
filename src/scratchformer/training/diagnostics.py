"""What goes on inside a model while it is trained, layer by layer: columns of diagnostics.csv.

- layer.gradient_norm: length of its gradient, before clipping
- layer.weight_norm: length of its weights
- layer.update_ratio: log10 of |change| / |weights|; about -3 is sound
- layer.activation_rms: root mean square of what it puts out
- layer.dead_units: share of its ReLU units that are 0 at every token
- layer.self_entropy.head, layer.cross_entropy.head: of its attention, nats; 0 looks at one token
- noise, signal: trace of the gradient's covariance over tokens, squared length of the gradient

noise / signal, each averaged over many updates, is the gradient noise scale in tokens: the batch
size from which on larger batches help little (McCandlish et al. 2018, appendix A.1). A single
estimate may be negative.

The training does not notice: a few rows of the batch pass through the model once more, in
evaluation mode and without gradients; the gradient of half a batch is taken before the real one;
dropout draws anew for every batch in any case. Weights are bit-identical without it (tested).
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from scratchformer.data.tokenized.batches import Batch, TokenBatches
from scratchformer.runtime.device import machine
from scratchformer.training.objectives.objective import Objective
from scratchformer.transformer import collect_attention
from scratchformer.transformer.decoder import DecoderLayer

ROWS = 16  # pass through the model once more
SMALLEST = 1e-12


def layer_of(parameter: str) -> str:
    """ "encoder.layers.0.feed_forward.inner.weight" → "encoder.0". """
    parts = parameter.split(".")
    if parts[0] not in ("encoder", "decoder"):
        return parts[0]
    return f"{parts[0]}.{parts[2]}" if parts[1] == "layers" else f"{parts[0]}.{parts[1]}"


def diagnostic_columns(model: nn.Module) -> tuple[str, ...]:
    """The columns of diagnostics.csv, in the order of the layers."""
    layers = dict.fromkeys(layer_of(name) for name, _ in model.named_parameters())
    columns = [
        f"{layer}.{quantity}"
        for layer in layers
        for quantity in ("gradient_norm", "weight_norm", "update_ratio")
    ]
    for name, layer in _blocks(model):
        columns.append(f"{name}.activation_rms")
        if layer.feed_forward.activation == "relu":
            columns.append(f"{name}.dead_units")
        for kind in _attentions(layer):
            heads = range(layer.self_attention.num_heads)
            columns += [f"{name}.{kind}_entropy.{head}" for head in heads]
    return (*columns, "noise", "signal")


class Diagnosis:
    """Of one update. Call the methods in this order, around the update's own parts.

    Args:
        objective: the training's own.
        data: the training split.
        batch: the first one of the update.
    """

    def __init__(self, objective: Objective, data: TokenBatches, batch: Batch) -> None:
        self._objective, self._model, self._batch = objective, objective.model, batch
        self._parameters = dict(self._model.named_parameters())
        self._values: dict[str, float] = {}
        self._look_inside(data.collate(batch.records[:ROWS]))
        self._half = self._gradient_of_half(data)

    def take_gradients(self, tokens: int) -> None:
        """After the backward pass of the update's `tokens`, before clipping."""
        squares = self._squares([p.grad for p in self._parameters.values()])
        for layer, square in squares.items():
            self._values[f"{layer}.gradient_norm"] = math.sqrt(square)
        small, small_tokens = self._half
        large = sum(squares.values())
        spread = (small - large) / (1 / small_tokens - 1 / tokens) if tokens > small_tokens else 0.0
        self._values["noise"] = spread
        self._values["signal"] = large - spread / tokens

    def take_weights(self) -> None:
        """Before the optimizer writes."""
        self._before = [p.detach().clone() for p in self._parameters.values()]

    @torch.no_grad()
    def values(self) -> dict[str, float]:
        """After the optimizer has written."""
        weights = [p.detach() for p in self._parameters.values()]
        norms = self._squares(weights)
        changes = self._squares(torch._foreach_sub(weights, self._before))
        for layer, square in norms.items():
            ratio = math.sqrt(changes[layer]) / max(math.sqrt(square), SMALLEST)
            self._values[f"{layer}.weight_norm"] = math.sqrt(square)
            self._values[f"{layer}.update_ratio"] = math.log10(max(ratio, SMALLEST))
        return self._values

    def _squares(self, tensors: Any) -> dict[str, float]:
        """Squared length of the tensors of each layer, one for each parameter."""
        sums: dict[str, float] = {}
        known = [
            torch.zeros_like(p) if t is None else t
            for p, t in zip(self._parameters.values(), tensors, strict=True)
        ]
        norms = torch._foreach_norm(known)
        for name, norm in zip(self._parameters, torch.stack(list(norms)).tolist(), strict=True):
            sums[layer_of(name)] = sums.get(layer_of(name), 0.0) + norm**2
        return sums

    def _gradient_of_half(self, data: TokenBatches) -> tuple[float, int]:
        """(squared length of the gradient, tokens) of every second row."""
        half = data.collate(self._batch.records[::2])
        self._objective.backward(half, half.tokens)
        square = sum(self._squares([p.grad for p in self._parameters.values()]).values())
        self._model.zero_grad(set_to_none=True)
        return square, half.tokens

    @torch.no_grad()
    def _look_inside(self, rows: Batch) -> None:
        blocks = dict(_blocks(self._model))
        handles = []
        for name, layer in blocks.items():

            def outputs(_: nn.Module, __: Any, output: Tensor, name: str = name) -> None:
                self._values[f"{name}.activation_rms"] = output.square().mean().sqrt().item()

            def inner(_: nn.Module, __: Any, output: Tensor, name: str = name) -> None:
                alive = (output > 0).flatten(0, -2).any(dim=0)
                self._values[f"{name}.dead_units"] = 1 - alive.float().mean().item()

            handles.append(layer.register_forward_hook(outputs))
            if layer.feed_forward.activation == "relu":
                handles.append(layer.feed_forward.inner.register_forward_hook(inner))
        self._model.eval()
        with machine().eager(), collect_attention(self._model) as maps:
            self._objective.predict(rows)
        self._model.train()
        for handle in handles:
            handle.remove()
        for name, layer in blocks.items():
            stack, index = name.split(".")
            for kind in _attentions(layer):
                kept = maps.cross if kind == "cross" else getattr(maps, stack)
                for head, entropy in enumerate(_entropies(kept[int(index)])):
                    self._values[f"{name}.{kind}_entropy.{head}"] = entropy


def _blocks(model: nn.Module) -> Iterator[tuple[str, Any]]:
    for stack in ("encoder", "decoder"):
        layers = getattr(getattr(model, stack, None), "layers", ())
        for index, layer in enumerate(layers):
            yield f"{stack}.{index}", layer


def _attentions(layer: nn.Module) -> tuple[str, ...]:
    return ("self", "cross") if isinstance(layer, DecoderLayer) else ("self",)


def _entropies(weights: Tensor) -> list[float]:
    """[batch, heads, query, key] → mean entropy of each head, in nats."""
    entropies: list[float] = torch.special.entr(weights).sum(dim=-1).mean(dim=(0, 2)).tolist()
    return entropies
