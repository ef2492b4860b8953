"""What the configs of all studies share: fields, checks, and errors in one line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import MISSING
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypedDict

import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from saltation.data import DATASETS, Dataset, as_file, load, spec_of, whole_name
from saltation.data.own import HELP
from saltation.errors import ConfigError, SaltationError, choose
from saltation.ranks import STRATEGIES
from saltation.studies.engine import room
from saltation.studies.engine.bounds import (
    Count,
    Folder,
    Fraction,
    Positive,
    Processes,
    Samples,
    Seed,
    Several,
    Some,
    short,
)
from saltation.training import Optimisation

CONFIG = "config.json"

# Settings that say how a study is run, and that no result depends on.
HOW = ("workers", "ray", "devices", "strategy", "progress", "tensorboard")

VALIDATION_HELP = (
    "Fraction of the training set that is put aside to choose the best checkpoint on. With 0 the "
    "best is the best on the test set, and is called so."
)


_LISTED: dict[str, tuple[str, ...]] = {}


def names(registry: Iterable[str]) -> str:
    """Allowed names as a sentence has them: ``a, b or c``."""
    *most, last = registry
    said = f"{', '.join(most)} or {last}"
    _LISTED[said] = (*most, last)
    return said


def listed_in(text: str) -> tuple[str, ...]:
    """The names that `names` has made a sentence of that the text holds, for completion."""
    found = [said for said in _LISTED if said in text]
    longest = [said for said in found if not any(said in other for other in found if said != other)]
    return tuple(dict.fromkeys(name for said in longest for name in _LISTED[said]))


class SharedSettings(TypedDict, total=False):
    """What any trial may have: each only where it is not as it was before there was a choice, so
    that the trials of older studies stay the same."""

    threads: int
    validation: float
    data: str  # the fingerprint of a user's file


def setting(name: str, default: Any = MISSING) -> Any:
    """A field of a config that is a setting of `Optimisation`: with the text that it has, and its
    default unless another is given."""
    own = Optimisation.settings()[name]
    text = own["help"].format(names=names(own["names"])) if own["names"] else own["help"]
    return Field(own["default"] if default is MISSING else default, description=text)


class StudyConfig(BaseModel):
    """Settings that every study has. Field descriptions are the command line's help."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    epochs: Count = setting("epochs", 10)
    batch_size: Count = 128
    """Samples per batch; a last partial training batch is dropped."""
    lr: Positive = setting("lr")
    seeds: Annotated[list[Seed], Some, Several] = [0]
    """One trial each; weights, order of samples and spikes follow from the seed."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ... or auto."""
    out_dir: Folder | None = None
    """Folder of the results; trials already finished there are not run again. Without it, a new
    folder in runs/."""
    workers: Processes = 1
    """Processes that run trials at the same time, each on threads of its own."""
    threads: Processes = 1
    """Threads of a CPU that each trial computes on, however many run at the same time. Sums of
    torch's convolutions and products round differently with another number: it is part of the
    settings, and 1 unless told otherwise."""
    ray: str | None = None
    """Run trials as tasks of the Ray cluster at this address, or of one on this machine: local.
    out_dir must be a folder that all its nodes share."""
    devices: Processes = 1
    """Processes that train each trial together, every one on its part of the batch; on GPUs each
    has its own. Started here, or by torchrun."""
    strategy: str = Field("ddp", description=f"How they do that: {', '.join(STRATEGIES)}.")
    progress: bool = True
    """Whether to show progress."""
    tensorboard: bool = False
    """Whether to write numbers, spike rates and potentials for TensorBoard, into the folder's
    tensorboard."""

    @model_validator(mode="after")
    def _check_shared(self) -> Self:
        resolve_device(self.device)
        if self.ray is not None and self.workers > 1:
            raise ConfigError(
                f"give either workers or ray, got workers={self.workers} and ray='{self.ray}'"
            )
        choose("strategy", self.strategy, STRATEGIES)
        if self.devices > 1 and (self.ray is not None or self.workers > 1):
            raise ConfigError(
                f"devices share one trial, workers and ray run several: with devices="
                f"{self.devices} give neither"
            )
        if self.batch_size % self.devices:
            raise ConfigError(
                f"batch_size must be a multiple of devices={self.devices}, got {self.batch_size}"
            )
        return self

    @property
    def on_threads(self) -> SharedSettings:
        """What the threads add to a trial's settings: nothing where they are one."""
        return {} if self.threads == 1 else {"threads": self.threads}

    def least_memory(self) -> float:
        """Bytes that a trial takes on its device, at the least."""
        return 0.0

    def require_memory(self, device: torch.device) -> None:
        """See whether the machine has the memory that the study takes at the least.

        Raises
        ------
        ConfigError
            If it has not.
        """
        room.require_memory(self.least_memory(), device, "the data, network and batch of a trial")
        processes = max(self.workers, self.devices)
        if processes > 1 and self.ray is None:
            which = "workers" if self.workers > 1 else "devices"
            of_each = room.PROCESS + (self.least_memory() if device.type == "cpu" else 0)
            room.require_memory(
                processes * of_each, torch.device("cpu"), f"{which}={processes}, each a process,"
            )

    def recorded(self) -> dict[str, Any]:
        """What `CONFIG` holds: all settings that results depend on."""
        return self.model_dump(mode="json", exclude={"out_dir", *HOW})

    @classmethod
    def build(cls, **settings: Any) -> Self:
        """Make a config.

        Raises
        ------
        ConfigError
            In one line: which setting, what was given, what is allowed.
        """
        try:
            return cls(**settings)
        except ValidationError as error:
            raise one_line(error) from None


class GradientConfig(StudyConfig):
    """Settings of a study that trains with gradients."""

    optimizer: str = setting("optimizer")
    schedule: str = setting("schedule")
    clip: Positive | None = setting("clip")

    @model_validator(mode="after")
    def _check_optimisation(self) -> Self:
        _ = self.optimisation  # which checks itself
        return self

    @property
    def optimisation(self) -> Optimisation:
        """The part that the training loop needs: of its settings those that this config has."""
        own = Optimisation.settings().keys() & type(self).model_fields.keys()
        return Optimisation(**{name: getattr(self, name) for name in own})


def data_named(given: Any) -> Any:
    """The name of a data set as it is; data that a program has in memory as the path of a file."""
    if given is None or isinstance(given, str | Path | bool | int | float):
        return given
    whole = isinstance(given, tuple | list) and len(given) == 2
    return as_file(*given) if whole else as_file(given)


def with_labels(name: str) -> str:
    """The whole name of a data set with labels.

    Raises
    ------
    ConfigError
        If it has targets in their place.
    """
    if spec_of(name).regression:
        raise ConfigError(
            f"{name} has targets in place of labels, and this study compares accuracies"
        )
    return whole_name(name)


class NamedDataConfig(StudyConfig):
    """Settings of a study that is given a data set, by name, path or as what is in memory."""

    dataset: str = Field(
        "digits",
        description=f"{names(DATASETS)}; `saltation data list` shows which are present; {HELP}.",
    )
    data_dir: Folder | None = None
    """Folder of the data set, searched before $SALTATION_DATA."""

    targets: ClassVar[bool] = False
    """Whether the study trains on targets too, and not on labels alone."""

    @field_validator("dataset", mode="before")
    @classmethod
    def _from_memory(cls, given: Any) -> Any:
        return data_named(given)

    @field_validator("dataset")
    @classmethod
    def _check_dataset(cls, name: str) -> str:
        return whole_name(name) if cls.targets else with_labels(name)


class DataConfig(NamedDataConfig):
    """Settings of a study that trains on a data set, or on the first samples of it."""

    limit_train: Samples | None = None
    """Train on the first n samples only."""
    limit_test: Samples | None = None
    """Test on the first n samples only."""
    validation: Fraction = Field(0.0, description=VALIDATION_HELP)

    @property
    def of_data(self) -> SharedSettings:
        """Settings of trials that say more of their data than its name: the fraction put aside, and
        the fingerprint of a user's file, so that other content makes other trials. Each only where
        there is one."""
        found: SharedSettings = {}
        if self.validation:
            found["validation"] = self.validation
        if fingerprint := spec_of(self.dataset).fingerprint:
            found["data"] = fingerprint
        return found

    def load(self) -> Dataset:
        """The data set.

        Raises
        ------
        DataError
            If it is not there or damaged.
        """
        return load(
            self.dataset,
            self.data_dir,
            limit_train=self.limit_train,
            limit_test=self.limit_test,
        )


def as_json(study: str, config: StudyConfig) -> str:
    """A study's name and its config, as the file `CONFIG` of its folder has them."""
    settings = config.recorded()
    if settings.get("data_dir"):
        settings["data_dir"] = str(Path(settings["data_dir"]).resolve())
    return json.dumps({"study": study} | settings, indent=1)


def resolve_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is the first GPU, or the CPU.

    Raises
    ------
    ConfigError
        If the name is not a device that a network can be trained on, or the device not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    allowed = ["cpu"]
    # torch 2.6 raises at the question which where there is none.
    there = torch.accelerator.is_available()
    accelerator = torch.accelerator.current_accelerator() if there else None
    if accelerator is not None:
        count = torch.accelerator.device_count()
        allowed += [accelerator.type, *(f"{accelerator.type}:{i}" for i in range(count))]
    if name not in allowed:
        reason = "; this machine has no GPU" if len(allowed) == 1 else ""
        raise ConfigError(
            f"device '{name}' cannot be used (allowed: auto, {', '.join(allowed)}){reason}"
        )
    return torch.device(name)


def one_line(error: ValidationError) -> ConfigError:
    """Pydantic's complaint about a config as an error of ours."""
    return ConfigError("; ".join(_line(e) for e in error.errors()))


def _line(error: Any) -> str:
    """One pydantic error as a sentence."""
    message = error["msg"].removeprefix("Value error, ")
    ours = isinstance(error.get("ctx", {}).get("error"), SaltationError)
    if not error["loc"] or ours:
        return str(message)
    name = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return f"unknown setting '{name}'"
    return f"{name}: {message[0].lower()}{message[1:]}, got {short(error['input'])}"
