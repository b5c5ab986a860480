"""From a source to the prepared splits of one track, in two passes over the rows.

The first pass checks every row, writes the good ones to a spool file and enters 8-byte digests into
the ledger. Then the split is planned on the digests alone, and the second pass copies the spool to
the three Parquet files. The texts are never all in memory.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scratchformer import params
from scratchformer.base.errors import DataError, ParamsError
from scratchformer.base.layout import REJECTED_ROWS, SPLITS, TrackName
from scratchformer.base.tasks import TASKS, TaskName
from scratchformer.data.preparation.checking import SPOOL, Checked, Chunk, check_chunk
from scratchformer.data.preparation.ledger import Ledger
from scratchformer.data.preparation.prepared import SCHEMAS, Info, Label
from scratchformer.data.preparation.rows import BATCH_ROWS, BadRow, Corpus, RawRow
from scratchformer.data.preparation.splits import DROPPED, Plan, plan_splits
from scratchformer.data.preparation.statistics import describe
from scratchformer.runtime.workers import in_order


@dataclass
class Intake:
    """What came in: good rows (in the ledger and the spool) and bad ones, counted by reason.

    `failure` is what ended the reading before its time; the rows before it are on record.
    """

    ledger: Ledger = field(default_factory=Ledger)
    bad: Counter[str] = field(default_factory=Counter)
    failure: DataError | None = None

    @property
    def total(self) -> int:
        return len(self.ledger) + self.bad.total()


def prepare_track(
    name: TrackName,
    track: params.Track,
    corpus: Corpus,
    seed: int,
    max_bad_share: float,
    folder: Path,
    rejected: TextIO,
    on_rows: Callable[[int], None] = lambda rows: None,
) -> dict[str, Any]:
    """Fill `folder` with the three splits and info.json; returns the track's part of data.json.

    Bad rows are written to `rejected` as lines of JSON. `on_rows` is called now and then with
    how many rows have been read.

    Raises:
        DataError: the source cannot be read, too many rows are bad, a split is empty, a label is
            never taught.
        ParamsError: the parameters do not fit the source.
    """
    folder.mkdir(parents=True, exist_ok=True)
    labelled = TASKS[corpus.task].labelled
    spool = folder / "spool.arrow"
    intake = Intake()
    check = partial(check_chunk, task=corpus.task, seed=seed, labelled=labelled)
    with pa.OSFile(str(spool), "wb") as sink, pa.ipc.new_file(sink, SPOOL) as writer:
        checked = in_order(check, _chunks(corpus, intake))
        for batch in _recut(_good_rows(name, checked, intake, rejected)):
            writer.write_batch(batch)
            on_rows(intake.total)
    if intake.failure:
        raise intake.failure
    _demand_good_rows(corpus, intake, max_bad_share)
    cut = [split for split in SPLITS if split not in corpus.splits]
    plan = plan_splits(intake.ledger, track.split, cut, merge=corpus.merge_references)
    _demand_unique_ids(corpus, intake.ledger, plan, spool)
    _write_splits(corpus.task, plan, spool, folder)
    spool.unlink()
    figures = describe(folder, corpus.task, pairs=corpus.pairs)
    counts = {split: part["rows"] for split, part in figures["splits"].items()}
    labels = _labels(track, corpus, figures["splits"]["train"]["labels"]) if labelled else ()
    Info(
        corpus.task, corpus.name, corpus.description, corpus.origin, corpus.licence,
        corpus.grouped, labels, counts, corpus.pairs,
    ).save(folder / "info.json")
    return {
        "name": corpus.name,
        "task": corpus.task,
        "origin": corpus.origin,
        "licence": corpus.licence,
        "left_out_by_source": dict(corpus.notes),
        "rows_read": intake.total,
        "rows_rejected": intake.bad.total(),
        "rejected_reasons": dict(intake.bad.most_common(20)),
        "rows_dropped": plan.counts,
        **figures,
    }


def _chunks(corpus: Corpus, intake: Intake) -> Iterator[Chunk]:
    """The rows of the source in their order, `BATCH_ROWS` at a time."""
    for code, split in enumerate(SPLITS):
        rows = corpus.splits[split]() if split in corpus.splits else iter(())
        chunk: list[RawRow | BadRow] = []
        try:
            for raw in rows:
                chunk.append(raw)
                if len(chunk) == BATCH_ROWS:
                    yield Chunk(code, chunk)
                    chunk = []
        except DataError as error:
            intake.failure = error
        if chunk:
            yield Chunk(code, chunk)
        if intake.failure:
            return


def _good_rows(
    track: TrackName, chunks: Iterable[Checked], intake: Intake, rejected: TextIO
) -> Iterator[pa.RecordBatch]:
    """The first pass: good rows are entered and handed on, bad ones are listed."""
    for chunk in chunks:
        for row in chunk.bad:
            # Reasons that differ in a number only are one reason.
            intake.bad[re.sub(r"(?<![\w-])\d[\d,]*", "…", row.reason)] += 1
            line = {"track": track, **row._asdict()}
            rejected.write(json.dumps(line, ensure_ascii=False) + "\n")
        intake.ledger.extend(chunk.entries, chunk.given)
        yield chunk.good


def _recut(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of `BATCH_ROWS`, so that a row is found by its number."""
    held = SPOOL.empty_table()
    for batch in batches:
        held = pa.concat_tables([held, pa.table(batch)])
        while len(held) >= BATCH_ROWS:
            yield held.slice(0, BATCH_ROWS).combine_chunks().to_batches()[0]
            held = held.slice(BATCH_ROWS)
    if len(held):
        yield held.combine_chunks().to_batches()[0]


def _demand_good_rows(corpus: Corpus, intake: Intake, max_bad_share: float) -> None:
    if not intake.total:
        raise DataError(f"{corpus.origin}: no rows")
    bad = intake.bad.total()
    if bad > max_bad_share * intake.total:
        reason, times = intake.bad.most_common(1)[0]
        raise DataError(
            f"{corpus.origin}: {bad:,} of {intake.total:,} rows are bad, more than "
            f"prepare.max_bad_share {max_bad_share}; most often ({times:,} times): {reason}; "
            f"all are listed in {REJECTED_ROWS}"
        )


def _demand_unique_ids(corpus: Corpus, ledger: Ledger, plan: Plan, spool: Path) -> None:
    """Predictions are matched by id, so an id names one row of a split."""
    identity = np.asarray(ledger.identity)
    for code, split in enumerate(SPLITS):
        rows = np.flatnonzero(plan.kept & (plan.split == code))
        _, first, times = np.unique(identity[rows], return_index=True, return_counts=True)
        if (times > 1).any():
            row = int(rows[first[times > 1][0]])
            with pa.memory_map(str(spool)) as source:
                batch = pa.ipc.open_file(source).get_batch(row // BATCH_ROWS)
                found = batch["id"][row % BATCH_ROWS].as_py()
            raise DataError(
                f"{corpus.origin}: {int((times > 1).sum())} ids occur more than once in {split}, "
                f"e.g. {found!r}; make them unique or leave `id` out of source.columns"
            )


def _read_spool(spool: Path) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Batches with the number of their first row; read, for mapped pages would count as memory."""
    with pa.OSFile(str(spool), "rb") as source:
        reader = pa.ipc.open_file(source)
        for index in range(reader.num_record_batches):
            yield index * BATCH_ROWS, reader.get_batch(index)


def _write_splits(task: TaskName, plan: Plan, spool: Path, folder: Path) -> None:
    """The second pass."""
    further = _further_targets(plan, spool)
    labelled, schema = TASKS[task].labelled, SCHEMAS[task]
    destination = np.where(plan.kept, plan.split, DROPPED)
    with ExitStack() as stack:
        writers = [
            stack.enter_context(pq.ParquetWriter(folder / f"{split}.parquet", schema))
            for split in SPLITS
        ]
        for start, batch in _read_spool(spool):
            targets = _with_further(batch["targets"], start, further)
            if labelled:
                targets = targets.flatten()  # one label a row
            inputs = [batch["input"], *([batch["pair"]] if TASKS[task].pair_field else [])]
            table = pa.table([batch["id"], *inputs, targets, batch["group"]], schema=schema)
            here = destination[start : start + len(batch)]
            for code, writer in enumerate(writers):
                writer.write_table(table.filter(pa.array(here == code)))


def _further_targets(plan: Plan, spool: Path) -> dict[int, list[str]]:
    """Targets of rows that were merged into another, by the number of that other row."""
    moved = plan.merged_into != np.arange(len(plan.merged_into))
    further: dict[int, list[str]] = defaultdict(list)
    if moved.any():
        for start, batch in _read_spool(spool):
            for offset in np.flatnonzero(moved[start : start + len(batch)]).tolist():
                into = int(plan.merged_into[start + offset])
                further[into] += batch["targets"][offset].as_py()
    return further


def _with_further(targets: pa.Array, start: int, further: dict[int, list[str]]) -> pa.Array:
    touched = [offset for offset in range(len(targets)) if start + offset in further]
    if not touched:
        return targets
    lists = targets.to_pylist()
    for offset in touched:
        lists[offset] = list(dict.fromkeys(lists[offset] + further[start + offset]))
    return pa.array(lists, targets.type)


def _labels(track: params.Track, corpus: Corpus, names: Iterable[str]) -> tuple[Label, ...]:
    labels = tuple(Label(name, corpus.label_names.get(name, name)) for name in sorted(names))
    known = [label.name for label in labels]
    for name in getattr(track.source, "label_names", {}):
        if name not in known:
            raise ParamsError(
                f"source.label_names: no row has the label {name!r}; labels: "
                + ", ".join(map(repr, known[:20]))
            )
    return labels
