"""Which pretrained model is fine-tuned, and the settings of its tokenizer."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from scratchformer.params.section import Section


class Pretrained(Section):
    kind: Literal["package", "folder", "hub"]
    name: str
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    prefix: str = ""
    source_language: str | None = None
    target_language: str | None = None

    @model_validator(mode="after")
    def hub_models_are_pinned(self) -> Self:
        if self.kind == "hub" and self.revision is None:
            raise ValueError("a hub model needs `revision`, the 40 hexadecimal digits of a commit")
        return self
