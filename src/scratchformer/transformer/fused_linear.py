"""Several linear layers of one input as one matrix product.

The queries, keys and values of a layer are three projections of the same vectors. Side by side in
one matrix they take one product instead of three. How they lie there is known in this file only:
first values, checks and foreign weights ask for a part by its name.
"""

from torch import nn

from .shapes import Float, Tensor


class FusedLinear(nn.Linear):
    """[x W_1 + b_1 | x W_2 + b_2 | …]: one layer of torch that holds several of ours.

    Args:
        inputs: width of x.
        parts: the width of each output, by its name and in this order.
    """

    def __init__(self, inputs: int, **parts: int) -> None:
        super().__init__(inputs, sum(parts.values()))
        self.parts = parts

    def split(self, outputs: Float[Tensor, "*rows width"]) -> dict[str, Tensor]:
        """The part of each layer in an output of this one, as a view."""
        return self._cut(outputs, dim=-1)

    def split_rows(self, rows: Tensor) -> dict[str, Tensor]:
        """Views of the weight [outputs, inputs], the bias [outputs], or the gradient of one."""
        return self._cut(rows, dim=0)

    def _cut(self, tensor: Tensor, dim: int) -> dict[str, Tensor]:
        pieces = tensor.split_with_sizes(list(self.parts.values()), dim)
        return dict(zip(self.parts, pieces, strict=True))
