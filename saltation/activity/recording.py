"""What every neuron of a network does at every step, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from saltation import inline
from saltation.activity import figures
from saltation.errors import SaltationError, choose, whole
from saltation.interop import adapt
from saltation.stepping import Call, LayerPort, Port, Session, State, settled

Array = NDArray[Any]


@dataclass(frozen=True)
class LayerRecord:
    """One layer of neurons, over time.

    Attributes
    ----------
    currents, spikes : array, [T, B, ...]
        What went in, and what came out.
    states : dict of str to array, [T, B, ...]
        Every variable after each step and its jump, by the name that the library has for it.
    potential : str
        Which of them is the membrane potential.
    threshold : float
        Of the potential, the mean over the neurons; NaN where it is not known.
    dt : float or None
        Length of a step, where the library says it.
    """

    currents: Array
    spikes: Array
    states: dict[str, Array]
    potential: str
    threshold: float
    dt: float | None

    @property
    def potentials(self) -> Array:
        """Membrane potentials after each step and its jump, ``[T, B, ...]``."""
        return self.states[self.potential]


@dataclass(frozen=True)
class Recording:
    """The layers of a network on one input, by their names in the order of their calls."""

    layers: dict[str, LayerRecord]

    def __getitem__(self, name: str) -> LayerRecord:
        return self.layers[choose("layer", name, self.layers)]

    def __str__(self) -> str:
        lines = ["layer  steps x samples x neurons  spikes per step and neuron"]
        lines += [
            f"{name}  {' x '.join(map(str, one.spikes.shape))}  {one.spikes.mean():.4f}"
            for name, one in self.layers.items()
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """As it prints, in a notebook."""
        return inline.text(str(self))

    def raster(
        self,
        sample: int = 0,
        layers: list[str] | None = None,
        *,
        ax: Axes | None = None,
        size: tuple[float, float] | None = None,
    ) -> Figure:
        """Spikes of one sample as dots over time, a panel for every layer.

        Parameters
        ----------
        sample : int, default 0
            Which.
        layers : list of str, optional
            Which; all of them unless told.
        ax : Axes, optional
            To draw one layer into; a figure of its own unless given.
        size : (float, float), optional
            Width and height in inches of a figure of its own.

        Raises
        ------
        SaltationError
            If there is no such sample or layer, or there are several for one ``ax``.
        """
        chosen = {name: self[name] for name in (self.layers if layers is None else layers)}
        if ax is not None and len(chosen) != 1:
            raise SaltationError(f"ax takes one layer, got {len(chosen)}: give layers")
        parts = [(n, one.spikes, one.dt) for n, one in chosen.items()]
        return figures.raster([(n, self._of(s, sample), dt) for n, s, dt in parts], ax, size)

    def traces(
        self,
        layer: str,
        neurons: list[int] | None = None,
        sample: int = 0,
        *,
        size: tuple[float, float] | None = None,
    ) -> Figure:
        """Potentials and currents of some neurons of a layer over time, with their spikes.

        Parameters
        ----------
        layer : str
            Its name.
        neurons : list of int, optional
            Which; of maps their places in the flattened map. The first three that spike unless
            told.
        sample : int, default 0
            Which.
        size : (float, float), optional
            Width and height in inches.

        Raises
        ------
        SaltationError
            If there is no such layer, neuron or sample.
        """
        one = self[layer]
        spikes, v, x = (self._of(a, sample) for a in (one.spikes, one.potentials, one.currents))
        if neurons is None:
            ranked = np.argsort(-spikes.sum(0), kind="stable")
            neurons = [int(n) for n in ranked[:3]]
        for neuron in neurons:
            if whole(neuron) is None or not 0 <= neuron < spikes.shape[1]:
                raise SaltationError(
                    f"'{layer}' has neurons 0 to {spikes.shape[1] - 1}, got {neuron!r}"
                )
        # Recurrent layers of some libraries take inputs, not currents.
        currents = x[:, neurons] if x.shape == spikes.shape else None
        parts = v[:, neurons], currents, spikes[:, neurons]
        return figures.traces(layer, neurons, *parts, one.threshold, one.dt, size)

    def _of(self, array: Array, sample: int) -> Array:
        """One sample, ``[T, N]``."""
        if whole(sample) is None or not 0 <= sample < array.shape[1]:
            raise SaltationError(f"samples are 0 to {array.shape[1] - 1}, got {sample!r}")
        return array[:, sample].reshape(len(array), -1)


def record(network: nn.Module, x: Tensor) -> Recording:
    """Currents, spikes and states of every neuron at every step.

    The network is not changed; dropout is off. All of it is kept in memory: give it the samples
    that are to be looked at.

    Parameters
    ----------
    network : Module
        Of saltation, snnTorch, SpikingJelly or Norse, as for `lyapunov`.
    x : Tensor
        Its input, as for `lyapunov`.

    Raises
    ------
    SaltationError
        If the network or the input cannot be followed.

    Examples
    --------
    >>> seen = st.record(net, spikes)
    >>> seen["1"].potentials  # [T, B, 256]
    >>> seen.raster().savefig("raster.png")
    """
    found, x = settled(adapt(network), x)
    keeper, log = _Keeper(), list[Call]()
    session = Session(found, keeper, log)
    with torch.no_grad():
        if found.at_once:
            history: list[State] = []
            session.run_at_once(x, history)
            states = history
        else:
            session.run(x)
            states = keeper.stacked()
    ports = {port.name: port for port in found.ports}
    outermost = {port.name for port in found.outermost}
    calls: dict[str, list[Call]] = {}
    for call, name in zip(log, _names(log, session.names), strict=True):
        calls.setdefault(name, []).append(call)
    layers = {}
    for name, state in zip(session.names, states, strict=True):
        own = name.partition(" (call ")[0]
        if own in outermost:
            layers[name] = _layer(ports[own], calls[name], state)
    return Recording(layers)


def _names(log: list[Call], names: list[str]) -> list[str]:
    """The names of the calls, of which those of one step follow each other as ``names`` do."""
    outer = [
        name for name in names if any(call.name == name.partition(" (call ")[0] for call in log)
    ]
    return [outer[i % len(outer)] for i in range(len(log))]


def _layer(port: Port, calls: list[Call], state: State) -> LayerRecord:
    join = torch.cat if port.sequences else torch.stack
    currents, spikes = (
        _array(join([getattr(call, what) for call in calls])) for what in ("currents", "spikes")
    )
    names = port.variables
    states = {name: _array(part) for name, part in zip(names, state, strict=True)}
    potential = next(name for name in ("v", "mem", names[0]) if name in names)
    neuron = port.module if isinstance(port, LayerPort) else None
    neuron = getattr(getattr(neuron, "layer", neuron), "neuron", None)
    dt = getattr(neuron, "dt", None) if getattr(neuron, "beta", None) is None else None
    return LayerRecord(currents, spikes, states, potential, _threshold(port, neuron), dt)


def _threshold(port: Port, neuron: Any) -> float:
    from saltation.interop.dynamics import threshold_of

    if neuron is None:
        return threshold_of(port)
    return float(torch.as_tensor(getattr(neuron, "v_threshold", float("nan"))).double().mean())


def _array(part: Tensor) -> Array:
    made: Array = part.detach().cpu().numpy()
    return made


class _Keeper:
    """The control of a session that keeps the states after every step."""

    def __init__(self) -> None:
        self._steps: list[list[State]] = []

    def start(self, name: str, rest: State) -> State:
        return rest

    def advance(self, states: list[State]) -> list[State]:
        self._steps.append(states)
        return states

    def stacked(self) -> list[State]:
        """Of every call of a step, the states over time."""
        return [
            tuple(torch.stack(parts) for parts in zip(*over_time, strict=True))
            for over_time in zip(*self._steps, strict=True)
        ]
