"""What a chapter is made of, read from its Markdown. The tests and the other tools stand on this.

A chapter is docs/chapters/NN-name.md. With it belong docs/figures/NN_name.py, which draws
docs/images/NN_name.png, and docs/experiments/NN.yaml, the runs behind its table of measurements.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
TOPICS = (
    "Attention mechanism",
    "Positional encoding",
    "Self-attention layer",
    "Multi-head attention",
    "Encoder-decoder structure",
    "Feed-forward networks",
    "Layer normalisation",
    "Position-wise feed-forward",
    "Residual connections",
    "Initialisation",
    "Loss functions",
    "Optimisation",
    "Data preprocessing and variable lengths",
    "Backpropagation and gradients",
    "Regularisation",
    "Evaluation metrics",
    "Architecture design",
    "Model training",
    "Hyper-parameter tuning",
    "Debugging and troubleshooting",
)
SECTIONS = ("The equation", "Our lines", "The picture", "Try it", "The proof", "The experiment")
QUOTE = re.compile(r'^```python title="(?P<path>[^"]+)"\n(?P<code>.*?)^```$', re.M | re.S)
NODE = re.compile(r"`(?P<path>tests/[\w/]+\.py)::(?P<test>[\w:]+)`")
SETTING = re.compile(r"-S '?(?P<setting>\+?[\w.]+=[^\s']+)'?")


@dataclass(frozen=True)
class Chapter:
    """One chapter. `number` counts from 1, as TOPICS does."""

    path: Path

    @property
    def number(self) -> int:
        return int(self.path.stem.partition("-")[0])

    @property
    def topic(self) -> str:
        return TOPICS[self.number - 1]

    @property
    def name(self) -> str:
        """`NN_name`: what the figure's files are called."""
        return self.path.stem.replace("-", "_")

    @property
    def figure(self) -> Path:
        return DOCS / "figures" / f"{self.name}.py"

    @property
    def image(self) -> Path:
        return DOCS / "images" / f"{self.name}.png"

    @property
    def experiment(self) -> Path:
        return DOCS / "experiments" / f"{self.number:02}.yaml"

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def sections(self) -> dict[str, str]:
        """The text under each `## heading`, in their order; what stands above them is under ""."""
        outside = re.compile(r"^## (.+)$", re.M).split(self.text)
        return {"": outside[0], **dict(zip(outside[1::2], outside[2::2], strict=True))}

    @cached_property
    def quotes(self) -> list[tuple[str, str]]:
        """The blocks of our own code that the chapter shows: path in the repository, lines."""
        return [(match["path"], match["code"]) for match in QUOTE.finditer(self.text)]

    @cached_property
    def nodes(self) -> list[tuple[str, str]]:
        """The tests that the chapter names: path, `function` or `Class::method`."""
        return [(match["path"], match["test"]) for match in NODE.finditer(self.text)]

    @cached_property
    def settings(self) -> list[str]:
        """The `key=value` of every `-S` in the experiment's commands."""
        section = self.sections["The experiment"]
        return [match["setting"] for match in SETTING.finditer(section)]


def chapters() -> list[Chapter]:
    """Those that are written, in order."""
    return [Chapter(path) for path in sorted((DOCS / "chapters").glob("[0-9][0-9]-*.md"))]


def fill(text: str, name: str, content: str) -> str:
    """Replace what stands between `<!-- name:begin -->` and `<!-- name:end -->`.

    Raises ValueError if the markers are not there exactly once.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"expected {begin} and {end} exactly once")
    head, _, rest = text.partition(begin)
    return f"{head}{begin}\n{content}\n{end}{rest.partition(end)[2]}"
