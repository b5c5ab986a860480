"""What a search tries: a YAML file of keys of params.yaml and the values that each may take.

    name: rates                       # of the study; its files are in .search/rates/
    stage: train_scratch              # train_scratch | finetune
    measure: loss                     # a column of the validation curve
    sampler: tpe                      # tpe | random | grid
    trials: 20
    halving: 3                        # of the trials that got as far, the best third goes on
    space:
      train_scratch.optimizer.learning_rate: {low: 0.0003, high: 0.01, log: true}
      train_scratch.schedule: [cosine, linear, constant]
      train_scratch.warmup_steps:
        low: 10
        high: 100
        when: {train_scratch.schedule: [cosine, linear]}
    confirmation: {best: 3, seeds: 3}
"""

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, ValidationError, field_validator, model_validator

from scratchformer.base.choices import did_you_mean
from scratchformer.base.errors import ParamsError
from scratchformer.base.layout import TRACKS, Track
from scratchformer.base.mappings import flatten
from scratchformer.base.measures import MEASURES, Measure
from scratchformer.params import Params, Section, read_yaml
from scratchformer.params.reading import plain

Value = bool | int | float | str
Values = dict[str, Value]


class Chooser(Protocol):
    """Who picks a value: a trial of Optuna."""

    def suggest_categorical(self, name: str, choices: list[Value]) -> Any: ...
    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int: ...
    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None, log: bool
    ) -> float: ...


class _Conditional(Section):
    when: dict[str, list[Value]] = Field(default_factory=dict)
    """Searched only where these keys of the space have one of these values."""


class Choices(_Conditional):
    """One of a list of values."""

    choices: Annotated[list[Value], Field(min_length=1)]

    def choose(self, chooser: Chooser, name: str) -> Value:
        value: Value = chooser.suggest_categorical(name, self.choices)
        return value

    def all(self) -> list[Value]:
        return self.choices


class Range(_Conditional):
    """A number between two ends, both included; whole where both are written without a point."""

    low: int | float
    high: int | float
    log: bool = False
    step: Annotated[int | float | None, Field(gt=0)] = None

    @model_validator(mode="after")
    def _is_a_range(self) -> "Range":
        if not self.low < self.high:
            raise ValueError(f"low ({self.low}) must be less than high ({self.high})")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log: low must be above 0, and there is no step")
        return self

    def choose(self, chooser: Chooser, name: str) -> Value:
        low, high, step = self.low, self.high, self.step
        if isinstance(low, int) and isinstance(high, int) and not isinstance(step, float):
            return chooser.suggest_int(name, low, high, step=step or 1, log=self.log)
        return chooser.suggest_float(name, float(low), float(high), step=step, log=self.log)

    def all(self) -> list[Value]:
        """Every value of a grid. Raises ParamsError where there is no end of them."""
        step = self.step
        if step is None and isinstance(self.low, int) and isinstance(self.high, int):
            step = 1
        if step is None or self.log:
            raise ParamsError("sampler: grid needs a list of choices, or a range with a step")
        count = int((self.high - self.low) / step + 1e-9) + 1
        return [self.low + place * step for place in range(count)]


class Confirmation(Section):
    """The best settings are trained again: how many, and with how many fresh seeds each."""

    best: Annotated[int, Field(ge=1, le=20)] = 3
    seeds: Annotated[int, Field(ge=2, le=100)] = 3


class Space(Section):
    """The whole file."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    stage: Literal["train_scratch", "finetune"]
    measure: str = "loss"
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    trials: Annotated[int, Field(ge=1, le=100_000)] = 20
    halving: Annotated[int | None, Field(ge=2, le=20)] = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    storage: str | None = None
    """URL of a database (postgresql://…); None: a journal file in the folder of the study."""
    space: Annotated[dict[str, Choices | Range], Field(min_length=1)]
    confirmation: Confirmation = Confirmation()

    @field_validator("space", mode="before")
    @classmethod
    def _lists_are_choices(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {k: {"choices": v} if isinstance(v, list) else v for k, v in value.items()}

    @property
    def track(self) -> Track:
        return next(track for track in TRACKS.values() if track.stage == self.stage)

    @property
    def scored_by(self) -> Measure:
        return MEASURES[self.measure]

    def varies(self, section: str) -> bool:
        """Whether a key of this section of params.yaml is searched."""
        return any(key.startswith(f"{section}.") for key in self.space)

    def choose(self, chooser: Chooser) -> Values:
        """The values of one trial, those of keys that are not searched in it left out."""
        chosen: Values = {}
        for key, values in self.space.items():
            if _holds(values.when, chosen):
                chosen[key] = values.choose(chooser, key)
        return chosen

    def grid(self) -> list[Values]:
        """Every setting once, in the order of the file."""
        settings: list[Values] = []
        for combination in product(*(values.all() for values in self.space.values())):
            chosen: Values = {}
            for (key, values), value in zip(self.space.items(), combination, strict=True):
                if _holds(values.when, chosen):
                    chosen[key] = value
            if chosen not in settings:
                settings.append(chosen)
        return settings


def _holds(when: Mapping[str, list[Value]], chosen: Values) -> bool:
    return all(key in chosen and chosen[key] in allowed for key, allowed in when.items())


def load_space(path: Path, params: Params) -> Space:
    """Read the file and check it against params.yaml.

    Raises:
        ParamsError: a line for each thing that is wrong.
    """
    document = read_yaml(path)
    try:
        space = Space.model_validate(plain(document))
    except ValidationError as error:
        raise ParamsError("\n".join(_lines(path, error))) from None
    wrong = [f"{path}: {line}" for line in _misfits(space, params)]
    if wrong:
        raise ParamsError("\n".join(wrong))
    return space


def _lines(path: Path, error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        place = ".".join(map(str, problem["loc"])) or "the file"
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = f"unknown key; {did_you_mean(problem['loc'][-1], list(Space.model_fields))}"
        yield f"{path}: {place}: {message}"


def _read_by(track: Track) -> tuple[str, ...]:
    """How the keys begin that decide what a training of the track makes. Seed and machine are not
    among them: the confirmation gives seeds, and another machine is no better setting."""
    also = {"scratch": (), "finetune": ("pretrained.",)}[track.name]
    return (f"{track.stage}.", f"prepare.{track.name}.", f"tokenize.{track.name}.", *also)


def _misfits(space: Space, params: Params) -> Iterator[str]:
    """What is well written, but cannot be searched."""
    read = _read_by(space.track)
    known = [key for key, _ in flatten(params.model_dump()) if key.startswith(read)]
    earlier: list[str] = []
    for key, values in space.space.items():
        if key not in known:
            hint = did_you_mean(key, known)
            yield f"space: {key}: not a key of {', '.join(read)}; {hint}"
        for condition in values.when:
            if condition not in earlier:
                yield f"space: {key}.when: {condition} must stand above {key} in the space"
        earlier.append(key)
    if space.measure not in MEASURES:
        yield f"measure: unknown {space.measure!r}; {did_you_mean(space.measure, list(MEASURES))}"
    if space.sampler == "grid":
        for key, values in space.space.items():
            try:
                values.all()
            except ParamsError as error:
                yield f"space: {key}: {error}"
