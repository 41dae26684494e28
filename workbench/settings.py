"""One frozen configuration: notebook parameter = Settings field = YAML key = table column."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from workbench.datatypes import WorkbenchError
from workbench.storage import canonical_json, fingerprint

HEADERS = ("auto", "title", "none")  # what is indexed in front of each chunk; auto: as the data set asks
SPLITS = ("all", "train", "selection", "confirmation", "test")  # test: selection and confirmation together
CLOSED_BOOK = "closed-book"  # the prompt that shows no passage: a control
SHOT_SELECTIONS = ("fixed", "random", "similar", "diverse")
SHOT_FIELDS = ("shot_selection", "shot_budget", "shuffle_shots")  # without effect when no shot is shown
# without effect when nothing is generated
ANSWER_FIELDS = ("prompt", "shot_count", *SHOT_FIELDS, "answers", "answer_budget", "shrink_context", "rules", "judge")
SECRET_NAME = re.compile(
    r"(api|private|access)[_-]?key|secret|password|passwd|passphrase|credential|(^|[._-])(?<!new_)token$",  # not max_new_token
    re.IGNORECASE,
)
SECRET_VALUE = re.compile(r"\b(sk-[\w-]{16,}|hf_\w{20,}|gh[pousr]_\w{20,}|AKIA[A-Z0-9]{12,})")


class Settings(BaseModel):
    """Hold one complete configuration of an experiment.

    Sizes and budgets are tokens of the measuring `tokenizer`. "auto" stands for the default of the data's language and is
    replaced by a concrete name before anything runs, so results never hold it. Knobs of parts that are no field here go into `options`
    ({"index": {"ef": 64}}).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dataset: str = "demo-en"
    split: str = "all"
    limit: Annotated[int, Field(ge=0)] = 0
    chunker: str = "recursive"
    chunk_size: Annotated[int, Field(ge=1)] = 256
    chunk_overlap: Annotated[int, Field(ge=0)] = 0
    header: str = "auto"
    tokenizer: str = "intfloat/multilingual-e5-small"
    embedder: str = "auto"
    retriever: str = "dense"
    index: str = "exact"
    filter: str = ""
    reranker: str = "none"
    top_k: Annotated[int, Field(ge=1)] = 10
    budgets: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)] = (256, 512, 1024, 2048)
    primary: str = "auto"
    generator: str = "none"
    prompt: str = "plain"
    shot_count: Annotated[int, Field(ge=0)] = 0  # examples in the prompt, out of the training split
    shot_selection: str = "fixed"
    shot_budget: Annotated[int, Field(ge=0)] = 128  # tokens of context that a shot shows
    shuffle_shots: bool = False  # give each shot the answer of another: a control that should lose
    answers: Annotated[int, Field(ge=0)] = 100  # questions answered at most, drawn by seed; 0 takes all
    answer_budget: Annotated[int, Field(ge=0)] = 0  # tokens of context for an answer; 0 stands for the first budget of at least 512
    shrink_context: bool = False  # let a context that does not fit the generator's window get smaller, which is recorded
    rules: str = ""  # YAML file of business rules
    judge: str = "none"  # model that judges answers; never the generator itself
    seed: Annotated[int, Field(ge=0)] = 0
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @field_validator("options")
    @classmethod
    def _plain(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Copy the options, so that a later change of the caller's dict changes nothing here."""
        try:
            copy = json.loads(json.dumps(options, allow_nan=False))
        except (TypeError, ValueError):
            copy = None
        if copy != options:
            raise ValueError("must hold JSON values only (no NaN, tuples, dates or numpy numbers)")
        return copy

    @model_validator(mode="after")
    def _check(self) -> Settings:
        if self.chunk_overlap >= self.chunk_size:
            raise ValueError(f"chunk_overlap {self.chunk_overlap} must be smaller than chunk_size {self.chunk_size}")
        if self.split not in SPLITS:
            raise ValueError(f"split {self.split!r} must be one of {', '.join(SPLITS)}")
        if self.header not in HEADERS:
            raise ValueError(f"header {self.header!r} must be one of {', '.join(HEADERS)}")
        if self.shot_selection not in SHOT_SELECTIONS:
            raise ValueError(f"shot_selection {self.shot_selection!r} must be one of {', '.join(SHOT_SELECTIONS)}")
        if not self.budgets or list(self.budgets) != sorted(set(self.budgets)):
            raise ValueError(f"budgets {list(self.budgets)} must hold at least one size and rise without repetition")
        for name, value in self:
            if isinstance(value, str) and "=" in value and name not in {"dataset", "rules"}:
                raise ValueError(f"{name} {value!r} must not contain '=': options go through `options` (--set part.name=value)")
        return self

    @property
    def config_id(self) -> str:
        """Return 12 hex digits that name this configuration, whatever its seed."""
        return fingerprint(self.model_dump(exclude={"seed"}))[:12]

    def replace(self, **changes: Any) -> Settings:
        """Return a copy with these fields changed; unknown names and bad values raise WorkbenchError."""
        return parse_settings({**self.model_dump(), **changes})

    def canonical(self) -> str:
        """Return the canonical JSON of all fields."""
        return canonical_json(self.model_dump())


def parse_settings(values: Mapping[str, Any]) -> Settings:
    """Build Settings from plain values; raise WorkbenchError naming the field, the value and the nearest known name."""
    if not isinstance(values, Mapping):
        raise WorkbenchError(f"settings must be names with values, got {values!r:.80}")
    for name, value in values.items():
        refuse_secrets(str(name), value, "settings")
        if name not in Settings.model_fields:
            raise WorkbenchError(unknown_field(str(name)))
    try:
        return Settings(**values)
    except ValidationError as error:
        problems = []
        for item in error.errors():
            place = ".".join(str(part) for part in item["loc"])
            message = item["msg"].removeprefix("Value error, ")
            problems.append(f"{place} = {item['input']!r}: {message}" if place else message)
        raise WorkbenchError("invalid settings: " + "; ".join(problems)) from None


def collect_settings(namespace: Mapping[str, Any], **changes: Any) -> Settings:
    """Build Settings from the variables of a notebook that are named like a field, and these changes."""
    values = {name: namespace[name] for name in Settings.model_fields if name in namespace}
    return parse_settings({**values, **changes})


def refuse_secrets(name: str, value: Any, place: str) -> None:
    """Raise WorkbenchError for a parameter that looks like a secret, or holds one: parameters are stored in every output (SC1)."""
    if SECRET_NAME.search(name) or (isinstance(value, str) and SECRET_VALUE.search(value)):
        raise WorkbenchError(
            f"{place}: parameter {name!r} looks like a secret; put it into an environment variable (OPENAI_API_KEY, "
            "WORKBENCH_JUDGE_API_KEY, or one that the notebook reads by os.environ): parameters are stored in every output"
        )
    inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for key, item in inner:
        refuse_secrets(f"{name}.{key}", item, place)


def unknown_field(name: str) -> str:
    """Say that no setting has this name, with the nearest one."""
    near = difflib.get_close_matches(name, Settings.model_fields, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown setting {name!r}{hint} (settings: {', '.join(Settings.model_fields)})"
