"""What the notebook runs, as settings of our studies, and what it printed.

The notebook trains 784-256-10 without biases on MNIST with LIF and Izhikevich neurons, by explicit
Euler, an exponential and two symplectic schemes, at fixed T = 50 and at fixed biological time 5;
at dt = 5 with five seeds and two readouts; and by R-STDP. Each part here is one of its cells. Its
``euler`` of Izhikevich is our ``symplectic_v``. Its models of the two sweeps compute the largest
output over time and return the last one, so their readout is ``last``.

Its ``exp`` on LIF multiplies the input by 1 - A in every case. With ``decay_input`` that is the
solution. Without, which R-STDP has, the solution has tau (1 - A): with tau = 2 its potential is
half of the one in the equation, and a threshold of 0.3 there is one of 0.6 here.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Printed(NamedTuple):
    """What the notebook printed of a cell.

    Attributes
    ----------
    low, high
        The smallest and largest number.
    draws
        Of how many seeds.
    digit
        The unit of its last digit.
    """

    low: float
    high: float
    draws: int = 1
    digit: float = 0.1


class Part(NamedTuple):
    """One cell of the notebook.

    Attributes
    ----------
    name
        Of its folder.
    study, settings
        The study that it is, and its settings.
    title
        In words.
    cells
        Settings that tell its cells apart.
    metrics
        Names of what is compared, with what they are in words.
    printed
        By metric and a cell's settings, in the order of ``cells``.
    """

    name: str
    study: str
    title: str
    settings: dict[str, Any]
    cells: tuple[str, ...]
    metrics: dict[str, str]
    printed: dict[tuple[Any, ...], Printed]


_ACCURACY = {"test_accuracy": "test accuracy (%)"}
_RATES = _ACCURACY | {"mean_spike_rate": "spike rate"}
_ANSWERS = _ACCURACY | {
    "silent_outputs": "outputs never answering",
    "silent_samples": "silent samples",
}
_SCHEMES = {"izhikevich": ["symplectic_v", "symplectic"], "lif": ["euler", "exponential"]}
_TITLES = {"izhikevich": "Izhikevich", "lif": "LIF"}
# A spike is a current that is held for a step.
_NETWORK = {
    "dataset": "mnist",
    "hidden": [256],
    "tau": 2.0,
    "encoder": "exact",
    "input": ["held"],
    "batch_size": 128,
    "lr": 1e-3,
}


def _gradient(name: str, neuron: str, title: str, printed: Any, **settings: Any) -> Part:
    """A part that trains with gradients, of one neuron."""
    return Part(
        f"{name}-{neuron}",
        "integrators",
        f"{_TITLES[neuron]}, {title}",
        _NETWORK | {"neurons": [neuron], "schemes": _SCHEMES[neuron]} | settings,
        ("scheme", "dt"),
        _RATES if "dt5" in name else _ACCURACY,
        printed,
    )


def _sweeps() -> list[Part]:
    steps: dict[str, Any] = {
        "dt": [0.05, 0.1, 0.5, 1.0, 2.0, 5.0],
        "steps": 50,
        "epochs": 10,
        "readout": "last",
    }
    time: dict[str, Any] = {
        "dt": [0.5, 1.0, 2.0, 5.0],
        "bio_time": 5.0,
        "epochs": 20,
        "readout": "last",
    }
    printed = {
        ("test_accuracy", "symplectic_v", 0.05): Printed(52.4, 52.4),
        ("test_accuracy", "symplectic_v", 0.5): Printed(89.4, 89.4),
        ("test_accuracy", "symplectic_v", 2.0): Printed(91.4, 91.4),
        # Its weights were no numbers there, and class 0 is all that is left to answer.
        ("test_accuracy", "symplectic_v", 5.0): Printed(9.80, 9.80, digit=0.01),
    }
    # It has one seed. Where what it printed is known, noise is measured with three.
    several = {"schemes": ["symplectic_v"], "seeds": [0, 1, 2]}
    more = _gradient(
        "steps-symplectic", "izhikevich", "T = 50, symplectic", {}, schemes=["symplectic"], **steps
    )
    return [
        _gradient("steps", "izhikevich", "T = 50", printed, **several, **steps),
        more,
        _gradient("steps", "lif", "T = 50", {}, **steps),
        *(_gradient("time", n, "biological time 5", {}, **time) for n in _SCHEMES),
    ]


def _at_dt_5() -> list[Part]:
    # It tests on 50 batches of 128.
    settings: dict[str, Any] = {
        "dt": [5.0],
        "steps": 50,
        "epochs": 10,
        "seeds": [0, 1, 2, 3, 4],
        "limit_test": 6400,
    }
    of_max = {
        "izhikevich": {
            ("test_accuracy", "symplectic", 5.0): Printed(74.9, 80.5, 5),
            ("mean_spike_rate", "symplectic", 5.0): Printed(0.52, 0.52, 5, 0.01),
        },
        "lif": {
            ("test_accuracy", "euler", 5.0): Printed(65.0, 74.0, 5, 1.0),
            ("mean_spike_rate", "euler", 5.0): Printed(0.67, 0.74, 5, 0.01),
            ("test_accuracy", "exponential", 5.0): Printed(97.0, 97.2, 5),
            ("mean_spike_rate", "exponential", 5.0): Printed(0.42, 0.45, 5, 0.01),
        },
    }
    return [
        _gradient(
            f"dt5-{readout}",
            neuron,
            f"dt = 5, readout {readout}",
            of_max[neuron] if readout == "max" else {},
            readout=readout,
            **settings,
        )
        for readout in ("max", "mean")
        for neuron in _SCHEMES
    ]


def _rewarded() -> list[Part]:
    settings: dict[str, Any] = {"dataset": "mnist", "epochs": 5, "reward": ["pm1"]}
    of_euler = {
        ("test_accuracy", "euler", 0.5): Printed(29.0, 30.0, digit=1.0),
        ("silent_samples", "euler", 0.5): Printed(0.62, 0.62, digit=0.01),
        ("test_accuracy", "euler", 0.1): Printed(78.8, 78.8),
        ("test_accuracy", "euler", 0.05): Printed(78.0, 78.0, digit=1.0),
    }
    schemes: dict[str, dict[str, Any]] = {
        "euler": {"schemes": ["euler"]},
        "exp": {"schemes": ["exponential"], "v_threshold": 0.6},
    }
    grids: dict[str, Any] = {
        # Outputs die early there, and which is a lottery: several draws.
        "lottery": ("T = 200, large dt", [0.5, 0.1], 200, {"euler": 5, "exp": 3}),
        "middle": ("T = 200, middle dt", [0.05], 200, {"euler": 3, "exp": 3}),
        "small": ("T = 200, small dt", [0.01, 0.005], 200, {"euler": 2, "exp": 2}),
        "long": ("T = 2000", [0.005], 2000, {"euler": 1, "exp": 1}),
    }
    return [
        Part(
            f"rstdp-{grid}-{scheme}",
            "rstdp",
            f"R-STDP, its {scheme}, {title}",
            settings
            | {"dt": dt, "steps": [steps], "seeds": list(range(seeds[scheme]))}
            | of_scheme,
            ("scheme", "dt"),
            _ANSWERS,
            {
                cell: printed
                for cell, printed in of_euler.items()
                if scheme == "euler" and cell[2] in dt and steps == 200
            },
        )
        for grid, (title, dt, steps, seeds) in grids.items()
        for scheme, of_scheme in schemes.items()
    ]


PRESETS: dict[str, tuple[Part, ...]] = {"notebook": (*_at_dt_5(), *_sweeps(), *_rewarded())}
