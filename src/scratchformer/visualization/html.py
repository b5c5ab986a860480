"""Pages that are one file: templates, data that cannot end its element, and what may run."""

import base64
import hashlib
import json
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape


def environment(package: str) -> Environment:
    """Templates of a package; whatever comes from data is escaped, whatever is missing an error."""
    return Environment(
        loader=PackageLoader(package, "."),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def read_files(package: str, *names: str) -> str:
    """Files of a package, one behind the other."""
    return "\n".join(files(package).joinpath(name).read_text(encoding="utf-8") for name in names)


def inert_json(value: Any) -> str:
    """JSON that cannot end the element it stands in, whatever the tokens and texts are."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def csp_hash(text: str) -> str:
    """The source expression of a Content-Security-Policy that allows exactly this text."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
