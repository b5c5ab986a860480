"""reports/playground.html: one file without any request, the model and its program inside."""

from pathlib import Path

from tokenizers import Tokenizer

from scratchformer.base.files import write_whole
from scratchformer.text.tokenizers import UNK_ID
from scratchformer.transformer import Transformer
from scratchformer.visualization.html import csp_hash, environment, inert_json, read_files
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
    script = read_files(__package__, *SCRIPTS)
    style = read_files(__package__, "page.css")
    html = environment(__package__).get_template("page.html.jinja").render(
        script=script,
        style=style,
        script_hash=csp_hash(script),
        style_hash=csp_hash(style),
        data=inert_json(
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
