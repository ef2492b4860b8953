"""The commands that stand alone: what a neuron's schemes do, data sets, versions, self-test."""

from __future__ import annotations

import math
import platform
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from rich.table import Table
from rich.text import Text

import saltation
from saltation import selftest
from saltation.cli import completion
from saltation.cli.diagnosis import diagnosis_of
from saltation.cli.terminal import console, say
from saltation.data import DATASETS, describe, fetch, load
from saltation.data.own import HELP
from saltation.data.places import roots
from saltation.data.summary import in_words
from saltation.errors import ConfigError, SaltationError, choose
from saltation.kernels.dispatch import KERNELS, Kernel
from saltation.models import ARCHITECTURES
from saltation.neurons import NEURONS, LIFNeuron, Neuron, get_neuron
from saltation.schemes import SCHEMES
from saltation.studies import STUDIES, draw_schemes, scheme_table
from saltation.studies.engine.bounds import possible_path
from saltation.studies.engine.config import names
from saltation.studies.engine.files import check_folder
from saltation.studies.report.accuracy import current_of, errors_at, in_cells
from saltation.studies.report.region import draw_region
from saltation.surrogate import SURROGATES

# Beyond these a step is lost in the precision of numbers, or overflows it.
_LARGEST, _SHORTEST = 1e6, 1e-12


@dataclass
class Stability:
    """What every scheme of a neuron does to a small perturbation of rest, and up to which dt; and
    how wrong its rates and spike times are at this dt, stable or not."""

    neuron: Annotated[str, tyro.conf.arg(help=f"Neuron model: {names(NEURONS)}.")] = "lif"
    tau: float | None = None
    """Membrane time constant. Default the model's own."""
    dt: float = 1.0
    """Length of a step."""
    set: list[str] = field(default_factory=list)
    """Other parameters of the model, as NAME=VALUE."""
    input: float | None = None
    """Constant current of the errors. Default: twice the smallest that keeps the neuron spiking."""
    out_dir: Path = Path("runs/stability")
    """Folder of the figures."""

    def __call__(self) -> None:
        neuron: Any = get_neuron(self.neuron)
        parameters = parameters_of(neuron, self.set, dt=self.dt, tau=self.tau)
        current = checked_input(self.input)
        check_folder("out_dir", possible_path(self.out_dir))
        table = scheme_table(self.neuron, **parameters)
        schemes = [str(scheme) for scheme in table.index]
        model = neuron(**parameters, scheme=schemes[0])
        errors, told = errors_at(model, [(s, self.dt) for s in schemes], current)
        shown = Table()
        columns = ("scheme", "order", "limit on dt", f"dt = {self.dt:g}", "factor", "rate", "times")
        for column in columns[: 7 if errors else 5]:
            name = column == "scheme"
            shown.add_column(column, justify="left" if name else "right", no_wrap=name)
        for scheme, row in table.iterrows():
            shown.add_row(
                str(scheme),
                "exact" if row["exact"] else str(row["order"]),
                "none" if math.isinf(row["dt_limit"]) else f"{row['dt_limit']:.4g}",
                "stable" if row["stable"] else "UNSTABLE",
                f"{row['growth']:.4f}",
                *(in_cells(errors[str(scheme), self.dt]) if errors else ()),
            )
        say(f"{self.neuron} at rest, dt = {self.dt:g}")
        console.print(shown)
        say(
            "factor: growth per step of the least damped perturbation of rest; of the equations "
            f"themselves: {table['exact_growth'].iloc[0]:.4f}"
        )
        say(told)
        figures = draw_schemes(self.out_dir, self.neuron, **parameters)
        try:
            figures += draw_region(self.out_dir, model, current_of(model, current))
        except SaltationError as reason:
            say(f"no figure of stability away from rest: {reason}")
        for figure in figures:
            say(f"figure: {figure}")


@dataclass
class DataList:
    """Which data sets are present, and where."""

    data_dir: Path | None = None
    """Folder to look in, before $SALTATION_DATA."""

    def __call__(self) -> None:
        table = Table("name", "data set", "present")
        table.add_column("where", overflow="fold")
        for found in describe(self.data_dir):
            table.add_row(
                found.name,
                found.title,
                "yes" if found.present else "no",
                Text(found.note or str(found.where or "")),
            )
        console.print(table)


@dataclass
class DataDescribe:
    """What a data set is: of the registry, or a file or folder of yours."""

    name: Annotated[
        tyro.conf.Positional[str],
        tyro.conf.arg(help=f"{names(DATASETS)}; {HELP}."),
    ]
    data_dir: Path | None = None
    """Folder of a data set of the registry, before $SALTATION_DATA."""

    def __call__(self) -> None:
        for line in in_words(load(self.name, self.data_dir)):
            say(line)


@dataclass
class DataFetch:
    """Download a data set and verify it."""

    name: Annotated[
        tyro.conf.Positional[str],
        tyro.conf.arg(help=f"{names(n for n, spec in DATASETS.items() if not spec.bundled)}."),
    ]
    data_dir: Path | None = None
    """Where to put it. Default: $SALTATION_DATA, or the user's cache."""

    def __call__(self) -> None:
        check_folder("data_dir", possible_path(roots(self.data_dir)[0]))
        say(f"{self.name}: {fetch(self.name, self.data_dir)}")


@dataclass
class Info:
    """Versions, devices, kernels, and the names that options take."""

    def __call__(self) -> None:
        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        lines = {
            "saltation": saltation.__version__,
            "torch": torch.__version__,
            "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
            "devices": ", ".join([f"cpu ({torch.get_num_threads()} threads)", *gpus]),
            "kernels": ", ".join(map(_described, KERNELS.values())),
            "neurons": ", ".join(NEURONS),
            "schemes": ", ".join(SCHEMES),
            "surrogates": ", ".join(SURROGATES),
            "data sets": ", ".join(DATASETS),
            "networks": ", ".join(ARCHITECTURES),
            "studies": ", ".join(STUDIES),
            "accuracy": "through spikes every scheme on a grid is of first order; see recommend",
        }
        for name, value in lines.items():
            say(f"{name:<11} {value}")


def _described(kernel: Kernel) -> str:
    reason = kernel.absent()
    return f"{kernel.name} (not here: {reason})" if reason else kernel.name


@dataclass
class Completion:
    """Print what a shell reads to complete commands, options and names.

    In bash and zsh: eval "$(saltation completion bash)", or zsh; in fish: saltation completion fish
    | source. Such a line in the shell's start file completes in every session.
    """

    shell: Annotated[tyro.conf.Positional[str], tyro.conf.arg(help=f"{names(completion.SHELLS)}.")]

    def __call__(self) -> None:
        from saltation.cli.described import commands  # which reads this one too

        shell = choose("shell", self.shell, completion.SHELLS)
        say(completion.script(shell, commands()).rstrip())


@dataclass
class SelfTest:
    """Compare every compiled kernel with the reference on this machine; exit code 1 if one differs.

    Spikes and states must be equal to the bit, and gradients to 1e-5. The first time all kernels
    are compiled, which takes about a minute on two cores; from then on it takes half of that.
    """

    def __call__(self) -> None:
        start = time.perf_counter()
        rows = selftest.run()
        console.print(selftest.table(rows))
        say(selftest.verdict(rows, time.perf_counter() - start))
        if not all(row.ok for row in rows):
            raise SystemExit(1)


@dataclass
class Diagnose:
    """Why a network does not learn: its layers, its gradients, and in words what to try."""

    source: Annotated[
        tyro.conf.Positional[str],
        tyro.conf.arg(
            help="FILE.py:FUNCTION. Called without arguments, the function returns (network, x, y)"
            " or (network, x, y, loss): a network of saltation, snnTorch or SpikingJelly or what"
            " saltation.adapt made of it, a batch of its input, labels, and loss(output, y)."
        ),
    ]

    trial: int | None = None
    """Steps of Adam on a copy, as evidence; 0 for none. Default: 10 or 50, where they are cheap."""
    lr: float | None = None
    """Learning rate of these steps, and of the cure's. Default: 0.001, and 0.003 of the cure."""
    cure: bool = False
    """Then try the remedies for what is wrong on copies, with many short trainings, and print the
    losses before and after."""

    def __call__(self) -> None:
        for part in diagnosis_of(self.source, self.trial, self.cure, self.lr):
            say(f"{part}\n" if self.cure else part)


def parameters_of(neuron: type[Neuron], texts: list[str], **given: float | None) -> dict[str, Any]:
    """Parameters of a model from options and NAME=VALUE, without those that were not given."""
    named = [(name, value) for name, value in given.items() if value is not None]
    every = [*named, *map(_parameter, texts)]
    if issubclass(neuron, LIFNeuron) and "beta" in dict(every):
        raise ConfigError(_in_place_of_beta(dict(every)["beta"], given.get("dt")))
    return {name: _checked(neuron, name, value) for name, value in every}


def _in_place_of_beta(beta: float, dt: float | None) -> str:
    """What to give where schemes and steps are compared, which a decay per step has not."""
    message = "LIF beta is a decay per step, in place of the tau, dt and scheme that are compared"
    if not 0 < beta < 1:
        return f"{message}: give tau"
    per = 1.0 if dt is None else dt
    tau = -per / math.log(beta)
    return f"{message}: give tau = -dt / ln(beta), which is {tau:.6g} at dt={per:g}"


def checked_input(value: float | None) -> float | None:
    """A constant current, if it is one that means something."""
    if value is not None and not abs(value) <= _LARGEST:
        raise ConfigError(f"input must be from {-_LARGEST:g} to {_LARGEST:g}, got {value:g}")
    return value


def _checked(neuron: type[Neuron], name: str, value: float) -> float:
    """The value, if that parameter of the neuron is a number and it one that means something."""
    numbers = [f.name for f in fields(neuron) if f.type != "str"]  # type: ignore[arg-type]
    choose(f"number of {neuron.title}", name, numbers)
    if not abs(value) <= _LARGEST:
        raise ConfigError(f"{name} must be from {-_LARGEST:g} to {_LARGEST:g}, got {value:g}")
    if name in ("dt", "tau") and 0 < value < _SHORTEST:
        raise ConfigError(f"{name} must be at least {_SHORTEST:g}, got {value:g}")
    return value


def _parameter(text: str) -> tuple[str, float]:
    """``NAME=VALUE`` as a pair."""
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise ConfigError(f"--set takes NAME=VALUE with a number, got '{text}'") from None
