"""How fast a training runs, and how much of that is work: the rows of speed.csv.

- seconds: since the last row, without validations
- tokens_per_second: tokens that count, without padding
- padding: share of the positions that hold padding
- matrix_product_share: of the rate at which this machine multiplies matrices of the model's size,
  what the model's own products reached (see flops.py). What is missing to 1 went into
  everything else: norms, softmax, dropout, the optimizer, Python
"""

import time

from scratchformer.monitoring.flops import Shape, Utilisation

COLUMNS = ("seconds", "tokens_per_second", "padding", "matrix_product_share")


class Throughput:
    """Counts from one row to the next. A resumed training begins to count anew."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self._shapes: list[Shape] = []
        self._tokens = 0
        self._start = time.monotonic()

    def add(self, shape: Shape, tokens: int) -> None:
        """A batch was trained on."""
        self._shapes.append(shape)
        self._tokens += tokens

    def leave_out(self, seconds: float) -> None:
        """Time that was not spent on training."""
        self._start += seconds

    def take(self, utilisation: Utilisation) -> dict[str, float]:
        """The columns of a row; the next one begins."""
        seconds = time.monotonic() - self._start
        positions = sum(shape.positions for shape in self._shapes)
        values = {
            "seconds": seconds,
            "tokens_per_second": self._tokens / seconds,
            "padding": sum(shape.padding for shape in self._shapes) / max(positions, 1),
            "matrix_product_share": utilisation.share(self._shapes, seconds),
        }
        self.begin()
        return values
