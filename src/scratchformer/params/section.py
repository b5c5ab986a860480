"""What every section of params.yaml is: immutable and strict; and the types of its values."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator

Share = Annotated[float, Field(ge=0, le=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]
Dropout = Annotated[float, Field(ge=0, le=0.99)]  # nearer to 1, nothing would be left to learn from
Count = Annotated[int, Field(ge=1)]
NotBlank = Annotated[str, Field(pattern=r"\S")]
Positive = Annotated[float, Field(gt=0)]
Decay = Annotated[float, Field(ge=0)]
Betas = Annotated[list[Probability], Field(min_length=2, max_length=2)]


def _count_or_auto(value: Any) -> Any:
    if value == "auto" or (type(value) is int and value >= 1):
        return value
    raise ValueError(f"expected auto or a whole number from 1 on, found {value!r}")


CountOrAuto = Annotated[int | Literal["auto"], PlainValidator(_count_or_auto)]


class Section(BaseModel):
    """A mapping of params.yaml: immutable, no unknown keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
