"""A data set of the Hugging Face hub, pinned to a commit. Needs the network once; then its cache.

No code of a data set is ever run: `datasets` reads data files only.
"""

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from scratchformer.base.errors import DataError, ParamsError
from scratchformer.base.layout import SPLITS, SplitName
from scratchformer.base.tasks import TASKS, TaskName
from scratchformer.data.preparation.rows import BATCH_ROWS, BadRow, Corpus, RawRow, SplitReader
from scratchformer.data.sources.columns import demand_columns
from scratchformer.data.sources.files import wanted_columns
from scratchformer.data.sources.formats.parquet import rows_of
from scratchformer.params import HubSource


def open_hub(source: HubSource, task: TaskName) -> Corpus:
    """Download (or find in the cache) the named splits.

    Raises:
        ParamsError: the name stands for a local folder.
        DataError: the data set, its revision, a split or a column cannot be had.
    """
    if Path(source.name).exists():
        raise ParamsError(f"source.name: {source.name} is a folder here; read it with kind: files")
    columns = wanted_columns(source, task)
    names = {split: name for split in SPLITS if (name := getattr(source, f"{split}_split"))}
    splits: dict[SplitName, SplitReader] = {}
    labels: dict[str, str] = {}
    for split, name in names.items():
        table = _load(source, name).flatten()  # a column in a column is named "outer.inner"
        place = f"{source.name}/{name}"
        demand_columns(place, columns, table.column_names)
        label = table.features[columns[TASKS[task].answer_field]]
        known = list(getattr(label, "names", []))  # the words of a ClassLabel
        labels |= {word: word.replace("_", " ") for word in known}
        splits[split] = partial(_read, table, columns, place, known)
    return Corpus(
        name=source.name,
        description=f"{source.name} {source.config or ''}".strip(),
        origin=f"hub data set {source.name} at {source.revision}",
        licence="see the data set's card",
        task=task,
        splits=splits,
        pairs=TASKS[task].pair_field in columns,
        grouped="group" in columns,
        merge_references=source.merge_references and not TASKS[task].labelled,
        label_names=labels | source.label_names,
    )


def _read(
    table: Any, columns: dict[str, str], place: str, known: list[str]
) -> Iterator[RawRow | BadRow]:
    """Rows of a loaded split; class numbers become the words the data set has for them."""
    selected = table.select_columns(list(dict.fromkeys(columns.values()))).with_format("arrow")
    batches = (
        batch for part in selected.iter(BATCH_ROWS) for batch in part.combine_chunks().to_batches()
    )
    for row in rows_of(batches, columns, place):
        number = row.values.get("label")
        if not known or number is None:
            yield row
        elif 0 <= number < len(known):
            yield row._replace(values={**row.values, "label": known[number]})
        else:
            yield BadRow(place, row.line, f"`label` is {number}; expected 0 to {len(known) - 1}")


def _load(source: HubSource, split: str) -> Any:
    """One split at exactly the pinned revision, memory-mapped by `datasets`."""
    place = f"hub data set {source.name} at {source.revision[:8]}"
    if not _hub_answers():
        # Else every request is retried for half a minute before the cache is looked at. The
        # variable is read when the library is first imported.
        os.environ["HF_HUB_OFFLINE"] = "1"
    import datasets
    from huggingface_hub.errors import HfHubHTTPError

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        table = datasets.load_dataset(
            source.name, source.config, split=split, revision=source.revision
        )
    except datasets.exceptions.DatasetNotFoundError:
        raise DataError(f"{place}: the hub has no such data set; check name and revision") from None
    except HfHubHTTPError as error:
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"{place}: the hub refuses it: {reason}") from error
    except OSError as error:
        raise DataError(
            f"{place}: not in the local cache and the hub cannot be reached; connect once, or save "
            "the data set as Parquet and read it with kind: files"
        ) from error
    except (ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(f"{place}: {' '.join(str(error).split())}") from error
    # Without network `datasets` takes whatever revision it has, with no more than a warning.
    if any(source.revision not in Path(file["filename"]).parts for file in table.cache_files):
        raise DataError(
            f"{place}: only another revision is in the local cache and the hub cannot be reached"
        )
    return table


def _hub_answers() -> bool:
    """Whether the hub (or the mirror named by HF_ENDPOINT) can be reached, through a proxy too."""
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    try:
        with urllib.request.urlopen(endpoint, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True  # it answered
    except OSError:
        return False
