"""The rules by which texts become the ids of one model, kept as JSON beside its weights.

`tokenize` writes them once. Whoever gives texts to the model later (evaluate, visualize, predict,
the served model) reads them, so that a text is cut, prefixed and marked as it was in training.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from scratchformer.base.errors import DataError
from scratchformer.base.files import read_mapping, write_json
from scratchformer.params import Section

RULES_FILE = "inputs.json"
MAX_TOKENS = 1 << 20
"""No model here reads more; a larger number in a file is a damaged file."""

Length = Annotated[int, Field(ge=1, le=MAX_TOKENS)]


class InputRules(Section):
    """How the texts of one model are read.

    Attributes:
        max_source_length: tokens of an input, special tokens included; more are cut.
        max_target_length: the same for an answer that is text; None where answers are labels.
        prefix: put before every input; it tells T5 its task.
        pairs: whether an input is two texts. None: either, in models of another origin.
        segments: whether token types tell the model which text a token belongs to
            (BERT); other models of pairs see it by the special tokens between the texts.
        truncation_side: where a long text loses tokens.
        source_language, target_language: codes for models that mark texts with their language
            (mBART: "en_XX").
    """

    max_source_length: Length
    max_target_length: Length | None = None
    prefix: str = ""
    pairs: bool | None = False
    segments: bool = False
    truncation_side: Literal["right", "left"] = "right"
    source_language: str | None = None
    target_language: str | None = None

    def save(self, folder: Path) -> None:
        """Write inputs.json into `folder`."""
        write_json(folder / RULES_FILE, self.model_dump())


def load_rules(folder: Path) -> InputRules | None:
    """inputs.json in `folder`; None where there is none (a model of another origin).

    Raises:
        DataError: the file is not JSON, or a value in it makes no sense.
    """
    path = folder / RULES_FILE
    if not path.is_file():
        return None
    try:
        return InputRules.model_validate(read_mapping(path))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{path}: {place}: {first['msg']}; found {first['input']!r:.40}") from None
