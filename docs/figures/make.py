"""Draw the figures of the chapters: `python docs/figures/make.py [NN …]`, all without numbers.

A figure is docs/figures/NN_name.py with a function `draw() -> matplotlib.figure.Figure`; it
becomes docs/images/NN_name.png. Equal code gives equal bytes.
"""

import io
import runpy
import sys
from pathlib import Path

from scratchformer.base.files import write_whole
from scratchformer.visualization.plots.style import styled

FIGURES = Path(__file__).resolve().parent
IMAGES = FIGURES.parent / "images"
# Figures share modules, also when a test draws them, and the tests' file of default parameters.
sys.path[:0] = [str(FIGURES), str(FIGURES.parents[1])]


@styled
def png(script: Path) -> bytes:
    """The figure of `script` as a PNG with a palette, which is half as large as one without."""
    from PIL import Image

    figure = runpy.run_path(str(script))["draw"]()
    full, small = io.BytesIO(), io.BytesIO()
    figure.savefig(full, dpi=100, bbox_inches="tight", pad_inches=0.1, metadata={"Software": None})
    image = (
        Image.open(full)
        .convert("RGB")
        .quantize(
            method=Image.Quantize.MAXCOVERAGE,  # keeps colours that only a thin line has
            dither=Image.Dither.NONE,
        )
    )
    image.save(small, format="PNG", optimize=True)
    return small.getvalue()


def main(numbers: list[str]) -> None:
    for script in sorted(FIGURES.glob("[0-9][0-9]_*.py")):
        if not numbers or script.name[:2] in numbers:
            with write_whole(IMAGES / f"{script.stem}.png") as temporary:
                temporary.write_bytes(png(script))
            print(f"docs/images/{script.stem}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
