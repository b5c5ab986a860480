"""What mkdocs cannot do by itself: formulas without a network, links into the code, long names.

The chapters are written for a code host: `$…$` for formulas, relative links to files of the
repository. For the site, each formula becomes MathML, and each file that a page links to becomes
a page of its own. In tables, long names of tests and parameters get places to break at.
"""

import html
import os
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = {".py": "python", ".yaml": "yaml", ".csv": "text", ".toml": "toml"}
LINK = re.compile(r"(?<=\]\()(?P<path>[\w./-]+\.(?:py|yaml|csv|toml))(?=\))")
FORMULA = re.compile(
    r'class="arithmatex">(?:\\\((?P<inline>.*?)\\\)|\\\[(?P<block>.*?)\\\])<', re.S
)
# A function's name without a subscript, and whether its argument follows without a bracket.
NAME = re.compile(r"(?<!<msub>)<m[io]>([a-zA-Z]{2,})</m[io]>(?P<bare><m(?:i|n|sub|frac)>)?")
CELL = re.compile(r"<td.*?</td>", re.S)
CODE = re.compile(r"(?<=<code>)[^<]*(?=</code>)|(?<=\">)test_\w+(?=</a>)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for every file that a page links to."""
    linked = set()
    for page in files.documentation_pages():
        folder = Path(str(page.abs_src_path)).parent
        for match in LINK.finditer(page.content_string):
            linked.add((folder / match["path"]).resolve().relative_to(ROOT))
    for path in sorted(linked):
        code = (ROOT / path).read_text(encoding="utf-8")
        content = f"# {path.name}\n\n`{path}`\n\n````{LANGUAGES[path.suffix]}\n{code}````\n"
        files.append(File.generated(config, listing(path), content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links into the code to the pages that `on_files` made."""
    here = page.file.src_uri
    if here.startswith("code/"):
        return markdown

    def to_page(match: re.Match[str]) -> str:
        target = (ROOT / "docs" / here).parent / match["path"]
        return os.path.relpath(listing(target.resolve().relative_to(ROOT)), Path(here).parent)

    return LINK.sub(to_page, markdown)


def listing(path: Path) -> str:
    """Where the site shows the file `path` of the repository."""
    return f"code/{path}.md"


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn formulas into MathML. Raises PluginError on a command that the converter lacks."""

    def to_mathml(match: re.Match[str]) -> str:
        block = match["block"] is not None
        latex = html.unescape(match["block"] if block else match["inline"]).strip()
        mathml = convert(latex, display="block" if block else "inline")
        if "\\" in mathml or "<mi>&</mi>" in mathml:
            raise PluginError(f"{page.file.src_uri}: no MathML for {latex!r}")
        return f'class="arithmatex">{NAME.sub(named, mathml)}<'

    content = FORMULA.sub(to_mathml, content)
    return CELL.sub(lambda cell: CODE.sub(breakable, cell[0]), content)


def named(name: re.Match[str]) -> str:
    """The converter makes some names operators, with too much space, others have none at all."""
    space = f'<mspace width="0.17em"/>{name["bare"]}' if name["bare"] else ""
    return f"<mi>{name[1]}</mi>{space}"


def breakable(code: re.Match[str]) -> str:
    """The name, with a place to break after each of its words."""
    return re.sub(r"(_|\.|::?)(?=\w)", r"\1<wbr>", code[0])
