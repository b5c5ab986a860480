"""What makes decoding fast: keys and values of earlier tokens do not change, so they are kept.

Under a causal mask no token sees a later one. Whatever comes next, the keys and values of what
has been read stay as they are; only the query of the new token is new.
"""

import torch

from .shapes import Float, Int, Tensor


class KeyValueCache:
    """Keys and values of the tokens read so far, so that one more token costs one query.

    Each is [batch, kv_heads, tokens so far, d_head].
    """

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    @property
    def length(self) -> int:
        return 0 if self.keys is None else self.keys.shape[2]

    def extend(
        self,
        keys: Float[Tensor, "batch kv_heads new d_head"],
        values: Float[Tensor, "batch kv_heads new d_head"],
    ) -> tuple[Tensor, Tensor]:
        """Append the new tokens; return everything so far."""
        if self.keys is None or self.values is None:
            self.keys, self.values = keys, values
        else:
            self.keys = torch.cat([self.keys, keys], dim=2)
            self.values = torch.cat([self.values, values], dim=2)
        return self.keys, self.values

    def select(self, rows: Int[Tensor, " kept"]) -> None:
        """Keep these rows of the batch, in this order; a row may be kept more than once."""
        if self.keys is not None and self.values is not None:
            # Copies whole rows, which keys[rows] does number by number: a quarter of the time.
            self.keys = self.keys.index_select(0, rows)
            self.values = self.values.index_select(0, rows)
