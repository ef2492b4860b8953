"""The parity ledger: spikes and potentials of Brian2, stored in small, and ours beside them.

Every model under a scheme that both have, in float64, with the same dt and the same input held
over each step. What is stored: every spike as a bit, and the potentials of every 50th step after
its jump. To make the file again, see `brian_cases`::

    python -m tests.interop.brian_traces /tmp/brian/bin/python

``python -m benchmarks.parity`` prints the ledger.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import saltation as st
from saltation.random import words

STORED = Path(__file__).with_name("brian_traces.npz")
NEURONS, EVERY, SEED = 16, 50, 2027

# Brian2's name of each scheme, and ours, where they are the same method.
EXPLICIT = {"euler": "euler", "rk4": "rk4"}
LINEAR = {"exact": "exponential", "exponential_euler": "exponential_split", "rk2": "rk2"}
METHODS = {
    "lif": EXPLICIT | LINEAR | {"exponential_euler": "exponential"},
    "alif": EXPLICIT | LINEAR,
    "izhikevich_2003": EXPLICIT,
    "adex": EXPLICIT,
    "hodgkin_huxley": EXPLICIT | {"exponential_euler": "exponential_split"},
}
LAYERS = {
    "lif": st.LIF,
    "alif": st.ALIF,
    "izhikevich_2003": st.Izhikevich2003,
    "adex": st.AdEx,
    "hodgkin_huxley": st.HodgkinHuxley,
}
JUMPS = {
    "lif": ("hard", "soft", "soft_delayed", "none"),
    "alif": ("hard", "soft", "none"),
    "izhikevich_2003": ("hard",),
    "adex": ("hard", "none"),
    "hodgkin_huxley": ("hard",),
}
# In the unit of each model's time constants; of Hodgkin-Huxley and Izhikevich (2003) ms.
STEPS_OF = {
    "lif": ((0.1, 200), (0.5, 200), (1.5, 200)),
    "alif": ((0.1, 200), (0.5, 200)),
    "izhikevich_2003": ((0.1, 800), (0.5, 400)),
    "adex": ((0.05, 400), (0.2, 200)),
    "hodgkin_huxley": ((0.02, 600),),
}
# Mean and half width of uniform currents, drawn anew every 10th step; weight of Poisson events.
DRIVE = {
    "lif": (1.2, 2.0, 4.0),
    "alif": (1.6, 2.0, 5.0),
    "izhikevich_2003": (10.0, 15.0, 40.0),
    "adex": (1.0, 1.0, 3.0),
    "hodgkin_huxley": (15.0, 10.0, 60.0),
}
# What a Brian2 user must write differently, or know, for the same numbers.
CONVENTIONS = {
    "all": "input is set before the state update and held over the step; the threshold is tested "
    "after it (v >= threshold) and the jump acts in the same step. Brian2 dates a spike by the "
    "start of its step, saltation by the step's number",
    "rk2": "Brian2's rk2 is the midpoint rule, saltation's is Heun's: the same on linear neurons, "
    "another method on the others, which are left out",
    "exponential_euler": "Brian2's exponential_euler is saltation's exponential_split (each "
    "variable by itself), and on a single variable its exponential",
    "soft_delayed": "snnTorch's: in Brian2 an operation after the state update subtracts the "
    "threshold of the last step's spike",
    "none": "a potential above the threshold spikes in every step, in both",
    "adex": "saltation's upstroke and w see v clipped at the threshold (stages of rk4 lie above "
    "it): clip(v, -inf, v_threshold) in Brian2's equations",
    "hodgkin_huxley": "one spike an action potential by a threshold that decays after it: a "
    "variable r in Brian2's equations, r = 1 at a spike, where its users write refractory",
}


class Traced(NamedTuple):
    """One population: model, Brian2's method, jump, dt and number of steps."""

    model: str
    method: str
    jump: str
    dt: float
    steps: int

    @property
    def layer(self) -> Any:
        """The same in saltation."""
        scheme = METHODS[self.model][self.method]
        more = {"v_rest": -0.1} if self.model == "lif" else {}
        return LAYERS[self.model](
            scheme=scheme, dt=self.dt, jump=self.jump, backend="reference", **more
        )

    @property
    def currents(self) -> Tensor:
        """``[T, 1, N]``: for half of the neurons uniform numbers that hold for ten steps, for the
        others Poisson events of a weight each."""
        site = torch.arange(NEURONS)
        block = torch.arange(-(-self.steps // 4))[:, None]
        sample = torch.tensor(list(METHODS).index(self.model))
        drawn = torch.stack(words(block, site, sample, seed=SEED, epoch=0, stream=0), 1)
        uniform = drawn.reshape(-1, NEURONS)[: self.steps].double() / 2**32
        mean, half, weight = DRIVE[self.model]
        held = uniform[::10].repeat_interleave(10, 0)[: self.steps]
        events = (uniform < 0.25).double() * weight * (site.double() / NEURONS)
        x = torch.where(site < NEURONS // 2, mean + half * (2 * held - 1), events)
        return x[:, None]

    def ours(self) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Our spikes ``[T, N]`` and the potentials after every 50th step, ``[T / 50, N]``."""
        trace = self.layer.record(self.currents)
        potentials = trace.states[0][EVERY - 1 :: EVERY, 0]
        return trace.spikes[:, 0].bool().numpy(), potentials.numpy()


CASES = [
    Traced(model, method, jump, dt, steps)
    for model, methods in METHODS.items()
    for jump, (dt, steps), method in product(JUMPS[model], STEPS_OF[model], methods)
]


def fingerprint() -> str:
    """Of all cases and their input: changes with anything that would make the traces others."""
    digest = hashlib.sha256()
    for case in CASES:
        digest.update(json.dumps(case).encode())
        digest.update(case.currents.numpy().tobytes())
    return digest.hexdigest()


Traces = list[tuple[NDArray[np.bool_], NDArray[np.float64]]]


def stored(path: Path = STORED) -> tuple[Traces, dict[str, str]]:
    """Brian2's spikes ``[T, N]`` and potentials ``[T / 50, N]`` of every case, and what made
    them."""
    with np.load(path) as file:
        bits = np.unpackbits(file["spikes"]).astype(bool)
        potentials, made = file["potentials"], json.loads(str(file["made"]))
    found, spike, place = [], 0, 0
    for case in CASES:
        size, few = case.steps * NEURONS, case.steps // EVERY * NEURONS
        found.append(
            (
                bits[spike : spike + size].reshape(-1, NEURONS),
                potentials[place : place + few].reshape(-1, NEURONS),
            )
        )
        spike, place = spike + size, place + few
    return found, made


def run(python: str, path: Path) -> None:
    """Run all cases in the Brian2 of another interpreter, and write what it gave."""
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder, "given.npz"), Path(folder, "answer.npz")
        settings = []
        for case in CASES:
            neuron = case.layer.neuron
            named = {name: getattr(neuron, name) for name in neuron.parameters()}
            start = dict(zip(neuron.State._fields, neuron.initial(), strict=True))
            settings.append([case.model, case.method, "float64", named | {"start": start}])
        np.savez(
            given,
            settings=json.dumps(settings),
            **{str(n): case.currents.numpy()[:, 0] for n, case in enumerate(CASES)},
        )
        script = Path(__file__).with_name("brian_run.py")
        subprocess.run([python, script, given, answer], check=True)
        with np.load(answer) as file:
            spikes = [file[f"spikes{n}"].ravel() for n in range(len(CASES))]
            sampled = [file[f"v{n}"][EVERY - 1 :: EVERY].ravel() for n in range(len(CASES))]
            made = json.loads(str(file["made"])) | {"fingerprint": fingerprint()}
        np.savez_compressed(
            path,
            spikes=np.packbits(np.concatenate(spikes)),
            potentials=np.concatenate(sampled),
            made=json.dumps(made),
        )


if __name__ == "__main__":
    run(sys.argv[1], STORED)
