"""The site builds without a warning, and loads nothing from the network."""

import re
from pathlib import Path

import pytest
from chapters import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True)
    build(config)
    return folder


def test_nothing_comes_from_the_network(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert pages
    loads = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*(?:src|href)=["']?(https?:)?//""")
    for page in pages:
        assert not loads.search(page.read_text(encoding="utf-8")), page


def test_formulas_are_mathml(site: Path) -> None:
    page = (site / "chapters" / "01-attention.html").read_text(encoding="utf-8")
    assert '<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">' in page
    assert "$$" not in page and "\\(" not in page and "\\[" not in page
    assert "<mi>softmax</mi>" in page  # not <mo>, which would stand apart from its bracket
    page = (site / "chapters" / "11-loss-functions.html").read_text(encoding="utf-8")
    assert '<mi>log</mi><mspace width="0.17em"/><mi>p</mi>' in page  # log p, not logp


def test_links_into_the_code_stay_on_the_site(site: Path) -> None:
    page = (site / "chapters" / "01-attention.html").read_text(encoding="utf-8")
    assert "../code/src/scratchformer/transformer/attention.py.html" in page
    shown = site / "code/src/scratchformer/transformer/attention.py.html"
    assert "attention_weights" in shown.read_text(encoding="utf-8")


def test_long_names_in_tables_break_at_their_words(site: Path) -> None:
    """A parameter and a test; the name that is searched for and copied stays whole."""
    page = (site / "index.html").read_text(encoding="utf-8")
    assert "<code>num_<wbr>encoder_<wbr>layers</code>" in page
    assert '">test_<wbr>self_<wbr>attention</a>' in page
    chapter = (site / "chapters" / "03-self-attention.html").read_text(encoding="utf-8")
    assert "num_encoder_layers" in chapter and "<wbr>" not in chapter
