"""The pictures are those that their scripts draw, and small."""

import io
from pathlib import Path

import numpy as np
import pytest
from chapters import DOCS, chapters

CHAPTERS = chapters()
LARGEST = 60_000  # bytes


TRAINED = (4, 5, 15, 18, 19, 20)  # their scripts train models: half a minute to three minutes each
PICTURES = [
    pytest.param(
        chapter,
        id=chapter.name,
        marks=pytest.mark.release if int(chapter.name[:2]) in TRAINED else pytest.mark.slow,
    )
    for chapter in CHAPTERS
]


@pytest.mark.parametrize("chapter", PICTURES)
def test_a_picture_is_what_its_script_draws(chapter) -> None:
    """Fonts and sums differ a little between machines; the picture may, too."""
    import runpy

    from PIL import Image

    png = runpy.run_path(str(DOCS / "figures" / "make.py"))["png"]
    assert chapter.image.stat().st_size < LARGEST
    drawn = Image.open(io.BytesIO(png(chapter.figure))).convert("L")
    kept = Image.open(chapter.image).convert("L")
    assert np.allclose(drawn.size, kept.size, atol=6), (drawn.size, kept.size)
    difference = np.asarray(drawn.resize(kept.size), float) - np.asarray(kept, float)
    assert np.abs(difference).mean() < 6, f"run python {DOCS.name}/figures/make.py"


def test_every_picture_has_its_script() -> None:
    scripts = {path.stem for path in (DOCS / "figures").glob("[0-9]*.py")}
    pictures = {path.stem for path in (DOCS / "images").glob("[0-9]*.png")}
    assert scripts == pictures == {chapter.name for chapter in CHAPTERS}
    assert all(isinstance(chapter.path, Path) for chapter in CHAPTERS)
