"""Many attention maps in few numbers: what reaches a token, and which layer is easiest to read."""

import numpy as np
from numpy.typing import NDArray

Maps = NDArray[np.float32]  # [layers, heads, query, key], rows sum to one


def attention_rollout(maps: Maps) -> NDArray[np.float32]:
    """Attention traced through all layers: `[layers, heads, n, n]` → `[n, n]`, rows sum to one.

    Attention rollout (Abnar and Zuidema 2020, section 3): the heads of a layer are averaged, half
    of what a position holds comes past the layer through the residual connection, and the layers
    are multiplied.
    """
    positions = maps.shape[-1]
    product = np.eye(positions)
    for layer in maps.astype(np.float64).mean(axis=1):
        product = (0.5 * layer + 0.5 * np.eye(positions)) @ product
    product /= product.sum(axis=-1, keepdims=True)
    rollout: NDArray[np.float32] = product.astype(np.float32)
    return rollout


def sharpest_layer(maps: Maps) -> int:
    """The layer whose head average has the lowest mean entropy: the easiest one to read."""
    mean = maps.mean(axis=1).astype(np.float64)
    entropy = -(mean * np.log(np.maximum(mean, 1e-12))).sum(axis=-1).mean(axis=-1)
    return int(entropy.argmin())
