"""Neurons, schemes and input that were run in Brian2, and how the stored spikes were made.

The input is drawn by the counter-based generator from the number of the case, so that it need not
be stored. To make the spikes again, with Brian2 in an environment of its own::

    python -m venv /tmp/brian && /tmp/brian/bin/pip install "brian2==2.9.0" "numpy<2.4"
    python -m tests.interop.brian_cases /tmp/brian/bin/python
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

STORED = Path(__file__).with_name("brian_spikes.npz")
STEPS, NEURONS, SEED = 200, 50, 2026

# Brian2's name of each scheme, and ours. Its rk2 is the midpoint rule, ours Heun's: on a linear
# neuron they are the same, on the Izhikevich neuron they are not.
METHODS = {
    "lif": {
        "exact": "exponential",
        "exponential_euler": "exponential",
        "euler": "euler",
        "rk2": "rk2",
        "rk4": "rk4",
    },
    "cuba_lif": {"exact": "exponential", "euler": "euler", "rk2": "rk2", "rk4": "rk4"},
    "izhikevich": {"euler": "euler", "rk4": "rk4", "rk2": "rk2"},
}
LAYERS = {"lif": st.LIF, "cuba_lif": st.CubaLIF, "izhikevich": st.Izhikevich}


class Case(NamedTuple):
    """One population: model, Brian2's method, parameters by our names, and the input's kind."""

    number: int
    model: str
    method: str
    dtype: str
    parameters: dict[str, Any]
    kind: str

    @property
    def layer(self) -> st.layers.SpikingLayer:
        """The same in saltation."""
        scheme = METHODS[self.model][self.method]
        return LAYERS[self.model](scheme=scheme, **self.parameters)

    @property
    def currents(self) -> Tensor:
        """``[T, B = 1, N]``: uniform numbers, or Poisson events with a weight per neuron."""
        site = torch.arange(NEURONS)
        block = torch.arange(STEPS // 4)[:, None]
        sample = torch.tensor(self.number)
        drawn = torch.stack(words(block, site, sample, seed=SEED, epoch=0, stream=0), 1)
        uniform = drawn.reshape(STEPS, NEURONS).double() / 2**32
        own = words(0, site, sample, seed=SEED, epoch=1, stream=0)[0].double() / 2**32
        x = 4 * uniform - 1.5 + own if self.kind == "uniform" else (uniform < 0.3) * (2 + 4 * own)
        if self.model == "izhikevich":
            x = x.abs() / 2
        if not self.parameters.get("decay_input", True):
            x = x / 2
        return x[:, None].to(getattr(torch, self.dtype))


def _cases() -> list[Case]:
    found: list[Case] = []

    def add(model: str, dtype: str, kind: str, **parameters: Any) -> None:
        for method in METHODS[model]:
            found.append(Case(len(found), model, method, dtype, parameters, kind))

    for dtype, kind, jump in product(
        ("float64", "float32"), ("uniform", "poisson"), ("hard", "soft")
    ):
        for dt in (0.1, 0.5, 1.5):
            add("lif", dtype, kind, jump=jump, dt=dt, tau=2.0, decay_input=True, v_rest=-0.1)
            add("cuba_lif", dtype, kind, jump=jump, dt=dt, tau=2.0, tau_syn=1.0)
        add("lif", dtype, kind, jump=jump, dt=0.7, tau=1.3, decay_input=False, v_threshold=0.8)
        add("cuba_lif", dtype, kind, jump=jump, dt=0.7, tau=1.3, tau_syn=2.9, v_rest=0.2)
        if dtype == "float64":  # in float32 its parabola makes other spikes of other rounding
            for dt in (0.1, 0.5):
                add("izhikevich", dtype, kind, jump=jump, dt=dt)
    return found


CASES = _cases()


def fingerprint() -> str:
    """Of all cases and their input: changes with anything that would make the spikes others."""
    digest = hashlib.sha256()
    for case in CASES:
        digest.update(json.dumps(case).encode())
        digest.update(case.currents.numpy().tobytes())
    return digest.hexdigest()


def stored() -> tuple[list[NDArray[np.bool_]], dict[str, str]]:
    """Brian2's spikes of every case, ``[T, N]``, and the versions that made them."""
    with np.load(STORED) as file:
        bits = np.unpackbits(file["spikes"]).astype(bool)
        made = json.loads(str(file["made"]))
    return list(bits.reshape(len(CASES), STEPS, NEURONS)), made


def main(python: str) -> None:
    """Run all cases in the Brian2 of another interpreter, and store the spikes."""
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder, "given.npz"), Path(folder, "answer.npz")
        settings = []
        for case in CASES:
            neuron = case.layer.neuron
            named = {name: getattr(neuron, name) for name in neuron.parameters()}
            settings.append([case.model, case.method, case.dtype, named])
        np.savez(
            given,
            settings=json.dumps(settings),
            **{str(case.number): case.currents.numpy()[:, 0] for case in CASES},
        )
        script = Path(__file__).with_name("brian_run.py")
        subprocess.run([python, script, given, answer], check=True)
        with np.load(answer) as file:
            made = json.loads(str(file["made"])) | {"fingerprint": fingerprint()}
            spikes = np.stack([file[f"spikes{case.number}"] for case in CASES])
            np.savez_compressed(STORED, spikes=np.packbits(spikes), made=json.dumps(made))


if __name__ == "__main__":
    main(sys.argv[1])
