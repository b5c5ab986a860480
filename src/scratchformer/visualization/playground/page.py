"""reports/playground.html: one file without any request, the model and its program inside."""

import base64
import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from tokenizers import Tokenizer

from scratchformer.base.files import write_whole
from scratchformer.text.tokenizers import UNK_ID
from scratchformer.transformer import Transformer
from scratchformer.visualization.playground.pack import packed, vocabulary

SCRIPTS = ("model.js", "text.js", "app.js")


def write_playground(
    model: Transformer,
    tokenizers: tuple[Tokenizer, Tokenizer],
    limits: tuple[int, int],
    examples: list[str],
    page: Path,
) -> None:
    """Write the page.

    Args:
        tokenizers: of the source and of the target; see `pack.obstacle` for what it can run.
        limits: the most tokens of a source and of a target, EOS included.
        examples: texts to begin with.
    """
    script = "\n".join(_file(name) for name in SCRIPTS)
    style = _file("page.css")
    environment = Environment(
        loader=PackageLoader(__package__, "."),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("page.html.jinja").render(
        script=script,
        style=style,
        script_hash=_hash(script),
        style_hash=_hash(style),
        data=_inert(
            {
                **packed(model),
                "source": vocabulary(tokenizers[0]),
                "target": vocabulary(tokenizers[1]),
                "unknown": UNK_ID,
                "limits": limits,
                "examples": examples,
            }
        ),
        weights=sum(parameter.numel() for parameter in model.parameters()),
        config=model.config,
    )
    with write_whole(page) as temporary:
        temporary.write_text(html, encoding="utf-8")


def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _inert(value: Any) -> str:
    """JSON that cannot end the element it stands in, whatever the tokens and texts are."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(text: str) -> str:
    """The source expression of a Content-Security-Policy that allows exactly this text."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
