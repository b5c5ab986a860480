"""Where a training may begin: its folder found by fingerprint, and nobody else writing there."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pydantic import BaseModel

from scratchformer.base.files import read_json, write_json
from scratchformer.base.terminal import say
from scratchformer.base.workspace import checkpoint_root
from scratchformer.checkpoints.agreement import demand_agreement
from scratchformer.checkpoints.checkpoint import Checkpoints
from scratchformer.checkpoints.fingerprint import Facts, collect_facts, differing, fingerprint
from scratchformer.checkpoints.writer_lock import only_writer
from scratchformer.runtime.processes import rank


@contextmanager
def training_session(
    stage: str,
    sections: Mapping[str, BaseModel],
    inputs: Iterable[Path],
    more: Facts,
    libraries: Iterable[str] = ("torch",),
) -> Iterator[Checkpoints]:
    """The checkpoints of a stage's training, found by all that its result depends on.

    Args:
        more: facts besides those of `collect_facts`: the machine, the number of processes.

    Raises:
        BusyError: another process trains the same, or in the same folder.
        DataError: an input is not there.
        ParamsError: on several computers, this one has other parameters, data or code.
    """
    facts = {**collect_facts(stage, sections, inputs, libraries), **more}
    demand_agreement(facts)
    with session_of(checkpoint_root(stage), facts) as checkpoints:
        yield checkpoints


@contextmanager
def session_of(root: Path, facts: Facts) -> Iterator[Checkpoints]:
    """The checkpoints of the training that `facts` describe; they go when the block succeeds.

    Two locks are held: on the checkpoints, and on this working folder, whose outputs a training
    of other parameters, left over from a killed pipeline, would overwrite.

    Args:
        root: the folder of the stage, see `workspace.checkpoint_root`.

    Raises:
        BusyError: another process holds one of the locks.
    """
    folder = root / fingerprint(facts)
    if rank():  # of several processes of one training, the first holds the locks
        yield Checkpoints(folder)
        return
    here = Path.cwd().as_posix()
    with ExitStack() as locks:
        # As bytes of the file system: a name may be undecodable in the locale of the process.
        name = f"{hashlib.sha256(os.fsencode(here)).hexdigest()[:16]}.lock"
        locks.enter_context(only_writer(root / "working-folders" / name, here))
        locks.enter_context(only_writer(root / f"{folder.name}.lock", folder.as_posix()))
        _report_other_configurations(root, folder, facts)
        write_json(folder / "fingerprint.json", facts)
        checkpoints = Checkpoints(folder)
        yield checkpoints
        checkpoints.remove()


def _report_other_configurations(root: Path, folder: Path, facts: Facts) -> None:
    """One line when checkpoints lie there that were made for something else."""
    if any(folder.glob("step-*")):
        return
    others = {path.parent.parent for path in root.glob("*/step-*/manifest.json")} - {folder}
    newest = max(others, key=lambda other: other.stat().st_mtime, default=None)
    if newest is None:
        return
    try:
        keys = ", ".join(differing(facts, read_json(newest / "fingerprint.json")))
    except (OSError, ValueError, AttributeError):  # damaged, or half removed by a killed training
        keys = "fingerprint.json, which is not readable"
    more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
    say(f"the checkpoint in {newest}{more} is not used, it differs in: {keys}")
