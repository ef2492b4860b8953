"""One network at any dt: its neurons' steps, and what a spike is worth in them.

The equations of neurons do not know dt, so below threshold an exact scheme has the same states at
common times, ``A' = A^(dt' / dt)``. What knows dt is what drives them. Held over the step, a spike
of weight w is a charge w dt: in shorter steps it is mapped to ``w dt / dt'`` (the charge is the
same), or it is a shorter current (``current``). An impulse has its charge at every dt. Constant
currents, biases and what normalisation adds, stay as they are; as impulses they come more often,
so each is smaller. Source: Karilanova et al., "Zero-shot temporal resolution domain adaptation for
spiking neural networks", arXiv:2411.04760, 2024.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from saltation.errors import Number, SaltationError, choose, positive
from saltation.layers import LeakyIntegrator, SpikingLayer
from saltation.neurons import Neuron
from saltation.numerics.losses import losses_of, shown_steps
from saltation.numerics.mapping import PRESERVED, Mapping
from saltation.numerics.weights import Gains, map_weights

DRIVES = ("auto", "spikes", "currents")


class AtDt(NamedTuple):
    """A network at another dt.

    Attributes
    ----------
    network : Module
        The copy.
    mapping : Mapping
        What it preserves and what not; it prints.
    """

    network: nn.Module
    mapping: Mapping


def at_dt(network: nn.Module, dt: Number, *, preserve: str = "charge", drive: str = "auto") -> AtDt:
    """A copy of ``network`` that runs at another dt.

    Every neuron layer gets the dt; of layers with ``beta`` in place of dt, beta becomes
    ``beta^(dt' / dt)`` and their gain is mapped into the weights, dt being measured in steps of the
    network. Weights on spikes are mapped so that a spike keeps its charge, or left so that it keeps
    its current. Images that are shown for T steps are shown for ``T dt / dt'``. Rates of encoders
    are per unit of time and stay: give `poisson` and `common_times` the new dt and steps.

    Parameters
    ----------
    network : Module
        With layers of saltation, in evaluation or training mode; it is not changed.
    dt : float
        The new length of a step, in the unit of time of the old.
    preserve : str, default "charge"
        Of a spike that is held over its step: its ``charge``, or its ``current``. Impulses have a
        charge alone.
    drive : str, default "auto"
        What the network itself is given: ``spikes``, or ``currents`` that do not know dt, such as
        images. ``auto``: currents for networks that show images, else spikes.

    Returns
    -------
    AtDt
        ``(network, mapping)``. ``print(mapping)`` says what was preserved and what could not be;
        ``mapping.inputs`` maps a sequence of inputs.

    Raises
    ------
    SaltationError
        If there is no neuron layer, or layers of different dt; for discrete maps, for statistics
        or products of single steps, and for a refractory time that is no longer half a step.

    Warns
    -----
    StabilityWarning
        If a scheme is not stable at the new dt.

    Examples
    --------
    >>> finer, mapping = st.at_dt(network, 0.25)  # doctest: +SKIP
    >>> print(mapping)  # doctest: +SKIP
    """
    dt = positive("dt", dt)
    choose("preserve", preserve, PRESERVED)
    choose("drive", drive, DRIVES)
    network = copy.deepcopy(network)
    layers = {n: m for n, m in network.named_modules() if isinstance(m, SpikingLayer)}
    before = _common_dt(layers)
    impulse = _common_input(layers) == "impulse"
    if impulse and preserve == "current":
        raise SaltationError("an impulse has a charge and no current: preserve must be 'charge'")
    ratio = dt / before
    lost = losses_of(network, layers, ratio)
    gains = _common_gains([_gains(m.neuron, ratio, preserve) for m in layers.values()])
    if drive == "auto":
        drive = "currents" if shown_steps(network) else "spikes"
    lost = (*lost, *map_weights(network, gains, drive == "spikes", ratio))
    for layer in layers.values():
        _set_dt(layer, dt, ratio)
        layer.neuron.warn_if_unstable(stacklevel=2)
    for module in network.modules():
        if isinstance(module, LeakyIntegrator):
            module.dt *= ratio
    for module in shown_steps(network):
        module.steps = max(1, round(module.steps / ratio))
    mapping = Mapping(before, dt, preserve, impulse, tuple(_kept(layers, preserve, impulse)), lost)
    return AtDt(network, mapping)


def _common_dt(layers: dict[str, SpikingLayer]) -> float:
    if not layers:
        raise SaltationError("the network has no neuron layer of saltation, whose dt could change")
    for name, layer in layers.items():
        if layer.neuron.is_map:
            raise SaltationError(
                f"'{name}': {layer.neuron.title} is a discrete map, which has no equations that "
                "another dt could be a step of"
            )
    found = {layer.neuron.dt: name for name, layer in layers.items()}
    if len(found) > 1:
        given = ", ".join(f"'{name}' {value:g}" for value, name in found.items())
        raise SaltationError(f"the neuron layers must have one dt, got {given}")
    return next(iter(found))


def _common_input(layers: dict[str, SpikingLayer]) -> str:
    found = {layer.neuron.input: name for name, layer in layers.items()}
    if len(found) > 1:
        given = ", ".join(f"'{name}' {value}" for value, name in found.items())
        raise SaltationError(f"the neuron layers must have one kind of input, got {given}")
    return next(iter(found))


def _gains(neuron: Neuron, ratio: float, preserve: str) -> Gains:
    """Of the input of one layer, with ``ratio = dt' / dt``."""
    beta = getattr(neuron, "beta", None) if "beta" in neuron.parameters() else None
    of_beta = beta is not None and neuron.name == "lif"
    if neuron.input == "impulse":
        # Constants come in every step: their charge per unit of time is what stays, and of beta,
        # which has no time, the potential at common times.
        return Gains(1.0, _geometric(beta, ratio, first=True) if of_beta else ratio)
    whole = _geometric(beta, ratio) if of_beta else 1.0
    return Gains(whole / ratio if preserve == "charge" else whole, whole)


def _geometric(beta: Any, ratio: float, first: bool = False) -> Any:
    """The gain C' that a constant input needs so that its sum over the steps is the old:
    ``(1 - beta') / (1 - beta)``; with impulses it has also decayed, by beta' in place of beta."""
    wide = torch.as_tensor(beta, dtype=torch.float64).detach()
    finer = wide**ratio
    gain = torch.where(wide == 1, torch.full_like(wide, ratio), (1 - finer) / (1 - wide))
    if first:
        gain = gain * wide / finer
    return gain if gain.ndim else float(gain)


def _common_gains(every: list[Gains]) -> Gains:
    first = every[0]
    for other in every[1:]:
        if not all(_equal(a, b) for a, b in zip(first, other, strict=True)):
            raise SaltationError(
                "the neuron layers have different beta, so their inputs are mapped differently: "
                "give tau and dt in place of beta"
            )
    if any(isinstance(gain, Tensor) for gain in first):
        raise SaltationError(
            "beta differs between neurons, so that weights could not be mapped for all: give tau "
            "and dt in place of beta"
        )
    return first


def _equal(a: Any, b: Any) -> bool:
    return math.isclose(a, b) if not isinstance(a, Tensor) and not isinstance(b, Tensor) else False


def _set_dt(layer: SpikingLayer, dt: float, ratio: float) -> None:
    """Give the layer's neurons another dt; those by beta, another beta."""
    if layer._replaced is not None:
        layer.neuron = _at(layer._replaced, dt, ratio)
    by_beta = getattr(layer._plain, "beta", None) is not None and layer._plain.name == "lif"
    layer._plain = _at(layer._plain, dt, ratio)
    if by_beta and "beta" in layer._ranges:
        allowed, raw = layer._ranges["beta"], layer.learned["beta"]
        with torch.no_grad():
            raw.copy_(allowed.raw(allowed.value(raw) ** ratio))
    elif by_beta and "fixed_beta" in layer._buffers:
        layer._buffers["fixed_beta"] = layer._buffers["fixed_beta"] ** ratio  # type: ignore[operator]


def _at(neuron: Neuron, dt: float, ratio: float) -> Neuron:
    values = {name: getattr(neuron, name) for name in neuron.parameters()}
    if neuron.name == "lif" and values["beta"] is not None:
        values = {k: v for k, v in values.items() if k not in ("tau", "dt", "scheme")}
        values["beta"] = values["beta"] ** ratio
    else:
        values["dt"] = dt
    made: Any = type(neuron)
    found: Neuron = made(**values)
    return found


def _kept(layers: dict[str, SpikingLayer], preserve: str, impulse: bool) -> Iterator[str]:
    exact = [m for m in layers.values() if m.neuron.linear and _is_exact(m.neuron)]
    if exact:
        yield (
            f"states of {len(exact)} of {len(layers)} neuron layers at common times, below "
            "threshold, for input constant over the longer step"
        )
    if impulse:
        yield "the charge of a spike, by itself: it is an impulse"
    elif preserve == "charge":
        yield "the charge of a spike: weights on spikes are multiplied with dt / dt'"
    else:
        yield "the current of a spike; its charge is that of the shorter or longer step"
    yield "time constants, thresholds, resets and jumps"


def _is_exact(neuron: Neuron) -> bool:
    beta = getattr(neuron, "beta", None) if neuron.name == "lif" else None
    return beta is not None or neuron.stability_scheme.exact_if_linear
