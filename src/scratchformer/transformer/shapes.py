"""Names for shapes in type annotations: `Float[Tensor, "batch length d_model"]`.

The annotations document. They are checked at run time in the tests only, where jaxtyping and
beartype are installed and tests/conftest.py switches the checks on; without jaxtyping they
mean plain `Tensor`, so that this folder needs torch and safetensors and nothing else.
"""

from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
else:
    try:
        from jaxtyping import Bool, Float, Int
    except ImportError:

        class _AnyShape:
            def __class_getitem__(cls, item: tuple[Any, str]) -> Any:
                return item[0]

        Bool = Float = Int = _AnyShape

__all__ = ["Bool", "Float", "Int", "Tensor"]
