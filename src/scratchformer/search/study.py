"""The record of a search: which trials there are, what they were given, how they ended.

Optuna keeps it, in a journal file or a database, so that several processes can work at one search
and a search that was stopped goes on. What decides the result is written into the study as it
begins, and a study of other rows or another space is refused.
"""

import json
import warnings
from pathlib import Path
from typing import Any

from scratchformer.base.errors import ParamsError
from scratchformer.base.files import write_json
from scratchformer.base.workspace import workspace_root
from scratchformer.params import Params
from scratchformer.runtime.randomness import derive_seed
from scratchformer.search.runs.checkout import fingerprint
from scratchformer.search.space import Space

SEARCHES = Path(".search")
SPACE, REPORT = "space.json", "report.json"  # of a search, in its folder
_MAY_CHANGE = {"trials", "confirmation", "storage"}  # a search may go on with more of these


def folder_of(space: Space) -> Path:
    """Where the journal, the trials and the report of a search lie."""
    return workspace_root() / SEARCHES / space.name


def open_study(space: Space, params: Params) -> Any:
    """The study of this space; it is made if there is none. Call it while nobody else makes it.

    Raises:
        ParamsError: Optuna is not installed; or there is one of that name with other contents.
    """
    optuna = import_optuna()
    folder = folder_of(space)
    folder.mkdir(parents=True, exist_ok=True)
    direction = "maximize" if space.scored_by.higher_is_better else "minimize"
    study = optuna.create_study(
        study_name=space.name, storage=_storage(space, folder), direction=direction,
        load_if_exists=True,
    )  # fmt: skip
    study.sampler, study.pruner = _sampler(space, study), _pruner(space)
    made_of = {
        "space": space.model_dump(mode="json", exclude=_MAY_CHANGE),
        "params": params.model_dump(mode="json", include=_sections(space)),
        "rows": fingerprint(workspace_root(), space.track),
    }
    write_json(folder / SPACE, space.model_dump(mode="json"))  # for those who only read
    known = study.user_attrs.get("made_of")
    if known is None:
        study.set_user_attr("made_of", made_of)
        if space.sampler == "grid":
            for values in space.grid():
                study.enqueue_trial(values)
    elif json.dumps(known, sort_keys=True) != json.dumps(made_of, sort_keys=True):
        other = [name for name in made_of if made_of[name] != known.get(name)]
        raise ParamsError(
            f"search {space.name!r} was begun with other {' and '.join(other)}; give this one "
            f"another name, or remove {folder}"
        )
    return study


def load_study(space: Space) -> Any:
    """The study as it is, to be read only."""
    optuna = import_optuna()
    return optuna.load_study(study_name=space.name, storage=_storage(space, folder_of(space)))


def _sections(space: Space) -> set[str]:
    """Of params.yaml, what the trials read: the earlier stages run only where their keys vary."""
    read = {"run", space.stage, "pretrained"}
    return read | {section for section in ("prepare", "tokenize") if space.varies(section)}


def budget(space: Space) -> int:
    """How many trials the search has at most."""
    return min(space.trials, len(space.grid())) if space.sampler == "grid" else space.trials


def import_optuna() -> Any:
    """The library, without its chatter.

    Raises:
        ParamsError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise ParamsError(
            "search needs the library optuna; install it with: pip install 'scratchformer[search]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


def _storage(space: Space, folder: Path) -> Any:
    from optuna import storages
    from optuna.exceptions import StorageInternalError
    from optuna.storages import journal
    from sqlalchemy.exc import SQLAlchemyError

    if space.storage is not None:
        try:
            return storages.RDBStorage(space.storage)
        except ImportError:
            raise ParamsError(
                "storage: the driver of this database is not installed; PostgreSQL needs: "
                "pip install 'psycopg[binary]'"
            ) from None
        except (SQLAlchemyError, StorageInternalError) as error:
            reason = " ".join(str(error.__cause__ or error).split())
            raise ParamsError(f"storage: the database cannot be used: {reason[:300]}") from None
    return storages.JournalStorage(journal.JournalFileBackend(str(folder / "journal.log")))


def _sampler(space: Space, study: Any) -> Any:
    """Its chance is a function of the seed and the number of the next trial: two processes do not
    propose the same, and a search that was stopped goes on as if it had not been."""
    from optuna.samplers import RandomSampler, TPESampler

    seed = derive_seed(space.seed, "search", len(study.get_trials(deepcopy=False))) % 2**32
    return TPESampler(seed=seed) if space.sampler == "tpe" else RandomSampler(seed=seed)


def _pruner(space: Space) -> Any:
    """Asynchronous successive halving (Li et al. 2020, arXiv:1810.05934) over validations."""
    from optuna.pruners import NopPruner, SuccessiveHalvingPruner

    if space.halving is None:
        return NopPruner()
    return SuccessiveHalvingPruner(min_resource=1, reduction_factor=space.halving)
