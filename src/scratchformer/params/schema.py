"""The schema of params.yaml: frozen, typed objects, one class a section.

Unknown keys are errors, because a misspelt parameter that is silently ignored is the most expensive
kind. A key that may be absent has its default in a file of its own (`sources`, `pretrained`,
`optimizers`, `losses`), on which the stages that read it depend: here every key is required.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from scratchformer.base.tasks import TaskName
from scratchformer.params.losses import FocalLoss, LossSettings, RDropLoss
from scratchformer.params.optimizers import AveragingSettings, OptimizerSettings
from scratchformer.params.pretrained import Pretrained
from scratchformer.params.section import (
    Count,
    CountOrAuto,
    Dropout,
    NotBlank,
    Probability,
    Section,
    Share,
)
from scratchformer.params.sources import Source


class Run(Section):
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["float32", "bfloat16"]
    threads: CountOrAuto
    processes: CountOrAuto
    compile: bool


# --- prepare ----------------------------------------------------------------------------------


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
    sample_rows: Count
    source: Tokenizer
    target: Tokenizer
    max_source_length: Annotated[int, Field(ge=2)]
    max_target_length: Annotated[int, Field(ge=2)]


class TokenizeFinetune(Section):
    max_length: Annotated[int, Field(ge=3, le=512)]


class Tokenize(Section):
    scratch: TokenizeScratch
    finetune: TokenizeFinetune


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


class TrainScratch(Section):
    model: Model
    optimizer: OptimizerSettings
    averaging: AveragingSettings
    schedule: Literal[
        "inverse_sqrt", "cosine", "linear", "constant", "one_cycle", "warmup_stable_decay"
    ]
    warmup_steps: Annotated[int, Field(ge=0)]
    clip_norm: Annotated[float, Field(gt=0)]
    loss: LossSettings
    label_smoothing: Probability
    word_dropout: Probability
    bpe_dropout: Share
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

    @model_validator(mode="after")
    def the_loss_can_do_its_work(self) -> Self:
        if isinstance(self.loss, FocalLoss) and self.label_smoothing:
            raise ValueError("loss.kind: focal has no smoothing in it; set label_smoothing: 0.0")
        if isinstance(self.loss, RDropLoss) and not self.model.dropout:
            raise ValueError(
                "loss.kind: r_drop compares two draws of dropout; set model.dropout above 0"
            )
        return self


class Finetune(Section):
    method: Literal["full", "lora"]
    lora_rank: Count
    lora_alpha: Annotated[float, Field(gt=0)]
    lora_dropout: Dropout
    epochs: Count
    batch_size: Count
    optimizer: Literal[
        "adamw_torch_fused", "adamw_torch", "adafactor", "sgd", "adagrad", "rmsprop"
    ]
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
