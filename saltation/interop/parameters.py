"""Parameters of neurons of any library: equations as a model of saltation, and the surrogate."""

from __future__ import annotations

import copy
import inspect
import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError, choose, positive
from saltation.interop.norse import NorsePort
from saltation.kernels import dispatch
from saltation.layers.neuron import SpikingLayer
from saltation.layers.recurrent import Recurrent
from saltation.neurons import LIFNeuron, Neuron
from saltation.stepping import LayerPort, Port, SeenSpike
from saltation.surrogate import FastSigmoid, Sigmoid, Surrogate

# How near a surrogate must come to the width that was asked for; widths are measured to 2.3 %.
_NEAR = 0.05
FAMILIES = ("same", "sigmoid")


def equations(port: Port) -> Neuron:
    """The model of a module's neurons, one for all of them.

    Two of snnTorch's resets have no model here and are taken for the nearest: ``zero``, which also
    drops the current of the step after a spike, for a hard one, and one without delay, which does
    not happen twice in a row, for a soft one. Between spikes all equations are exact.

    Raises
    ------
    SaltationError
        If saltation has no such model, or neurons of the module differ in their parameters.
    """
    if isinstance(port, LayerPort):
        return _layer(port).neuron
    module: Any = port.module
    kind = type(module).__name__
    if isinstance(port, NorsePort):
        return _of_norse(port, kind)
    if kind in ("Leaky", "Lapicque", "RLeaky"):
        delayed = getattr(module, "reset_delay", True)
        jump = {"subtract": "soft_delayed" if delayed else "soft", "zero": "hard", "none": "none"}
        if kind == "Lapicque":
            # Its steps are Euler's, by R and C; they do not use its beta.
            return LIFNeuron(
                tau=resistance_and_capacity(port),
                dt=_number(port, module.time_step),
                scheme="euler",
                v_threshold=_number(port, module.threshold),
                jump=jump[str(module.reset_mechanism)],
                detach_reset=True,
            )
        return LIFNeuron(
            beta=min(max(_number(port, module.beta), 0.0), 1.0),
            v_threshold=_number(port, module.threshold),
            jump=jump[str(module.reset_mechanism)],
            detach_reset=True,
        )
    if kind in ("IFNode", "LIFNode", "ParametricLIFNode"):
        options: dict[str, Any] = {"v_threshold": _number(port, module.v_threshold)}
        rest = 0.0 if module.v_reset is None else _number(port, module.v_reset)
        options |= {"jump": "soft" if module.v_reset is None else "hard", "v_reset": rest}
        if kind == "IFNode":
            return LIFNeuron(beta=1.0, detach_reset=module.detach_reset, **options)
        tau = (
            1 / _number(port, torch.sigmoid(module.w))
            if kind == "ParametricLIFNode"
            else _number(port, module.tau)
        )
        return LIFNeuron(
            tau=tau,
            dt=1.0,
            scheme="euler",
            v_rest=rest,
            decay_input=module.decay_input,
            detach_reset=module.detach_reset,
            **options,
        )
    raise _unknown(port, kind)


def resistance_and_capacity(port: Port) -> float:
    """R C of snnTorch's Lapicque.

    Raises
    ------
    SaltationError
        If R is not 1: its input is not scaled as that of saltation's LIF.
    """
    module: Any = port.module
    if _number(port, module.R) != 1:
        raise SaltationError(f"'{port.name}' is a Lapicque with R other than 1")
    return _number(port, module.C)


def _unknown(port: Port, kind: str) -> SaltationError:
    return SaltationError(
        f"'{port.name}' is a {kind}, whose equations saltation does not know (allowed: its own "
        f"layers, snnTorch's Leaky, Lapicque and RLeaky, SpikingJelly's IFNode, LIFNode and "
        f"ParametricLIFNode, Norse's LIFBoxCell and IAF)"
    )


def _of_norse(port: NorsePort, kind: str) -> Neuron:
    options = {"v_threshold": port.one("v_th"), "v_reset": port.one("v_reset"), "jump": "hard"}
    if kind in ("IAF", "IAFCell"):
        return LIFNeuron(beta=1.0, **options)  # type: ignore[arg-type]
    if kind != "LIFBoxCell" or port.module.p.reset_method.__name__ != "reset_value":
        raise _unknown(port, kind)
    times = {"tau": 1 / port.one("tau_mem_inv"), "dt": port.module.dt, "scheme": "euler"}
    return LIFNeuron(**times, v_rest=port.one("v_leak"), **options)  # type: ignore[arg-type]


def _layer(port: LayerPort) -> SpikingLayer:
    return port.module.layer if isinstance(port.module, Recurrent) else port.module


def _number(port: Port, value: Any) -> float:
    if isinstance(value, Tensor):
        if value.numel() > 1 and not bool((value == value.flatten()[0]).all()):
            raise SaltationError(
                f"the neurons of '{port.name}' differ in their parameters, and one number for all "
                f"of them is needed"
            )
        return float(value.detach().flatten()[0])
    return float(value)


def set_width(port: Port, width: float, family: str = "same") -> str:
    """Give a module's surrogate another half-width: the same function with another slope.

    A surrogate of snnTorch that has no slope becomes saltation's `FastSigmoid`.

    Parameters
    ----------
    port
        The module.
    width
        Distance from threshold at which the derivative has half its peak.
    family
        ``same``, or ``sigmoid``: the derivative of a logistic function, in SpikingJelly its own.

    Returns
    -------
    The new surrogate, in words.

    Raises
    ------
    SaltationError
        If the module has none, or one whose width cannot be set; it is then as it was.
    """
    positive("width", width)
    choose("family", family, FAMILIES)
    if port.spike is None:
        raise SaltationError(f"'{port.name}' has no surrogate")
    factor = port.spike.width() / width
    if not (math.isfinite(factor) and factor > 0):
        raise SaltationError(f"the surrogate of '{port.name}' has no width that could be scaled")
    module: Any = port.module
    sigmoid = Sigmoid(math.acosh(3) / width)
    if isinstance(port, LayerPort):
        layer = _layer(port)
        own: Surrogate = sigmoid
        if family == "same" or not isinstance(layer.surrogate, Surrogate):
            own = _of_saltation(port, layer.surrogate, factor, width)
        layer.surrogate = port.spike.function = own
        layer._key = dispatch.operator_key(layer.neuron, own)
        return str(own)
    if isinstance(port, NorsePort):
        if family != "same":
            raise SaltationError(f"'{port.name}' is of Norse, which has no '{family}' surrogate")
        return _of_norse_method(port, factor, width)
    if hasattr(module, "surrogate_function"):
        if family == "sigmoid":
            from spikingjelly.activation_based import surrogate  # type: ignore[import-untyped]

            made = surrogate.Sigmoid(alpha=sigmoid.alpha)
        else:
            made = _of_spikingjelly(port, module.surrogate_function, factor, width)
        module.surrogate_function = port.spike.function = made
        return f"{type(made).__name__}(alpha={made.alpha:.4g})"
    function, text = sigmoid, f"saltation's {sigmoid}"
    if family == "same":
        function, text = _of_snntorch(module.spike_grad, factor, width)
    module.spike_grad = port.spike.function = function
    return text


def _of_norse_method(port: NorsePort, factor: float, width: float) -> str:
    kept = port.module.p
    method, alpha = kept.method, port.one("alpha")
    for value in (alpha * factor, alpha / factor):
        port.set(alpha=value)
        if abs(port.spike.width() / width - 1) < _NEAR:
            return f"method='{method}', alpha={value:.4g}"
    port.module.p = kept
    raise SaltationError(
        f"the surrogate '{method}' of '{port.name}' does not depend on alpha (so it is with Norse "
        f"1.1's 'super', whose derivative is 1 / (1 + |u|)^2)"
    )


def _of_saltation(port: Port, surrogate: Any, factor: float, width: float) -> Surrogate:
    if not isinstance(surrogate, Surrogate):
        raise SaltationError(
            f"the spike function of '{port.name}' is {surrogate}, which has no surrogate's width"
        )
    # The step is the layer's, not a width.
    names = [name for name in inspect.signature(type(surrogate)).parameters if name != "dt"]
    for name in names:
        value = getattr(surrogate, name)
        for scaled in (value * factor, value / factor):
            made: Surrogate = replace(surrogate, **{name: scaled})  # type: ignore[type-var]
            if abs(made.width / width - 1) < _NEAR:
                return made
    raise SaltationError(
        f"the surrogate {surrogate} of '{port.name}' has no one parameter that sets its width"
    )


def _of_spikingjelly(port: Port, function: nn.Module, factor: float, width: float) -> Any:
    made: Any = copy.copy(function)  # neurons may share one
    if isinstance(getattr(made, "alpha", None), int | float):
        for value in (made.alpha * factor, made.alpha / factor):
            made.alpha = value
            if abs(SeenSpike(made, own=False).width() / width - 1) < _NEAR:
                return made
    raise SaltationError(
        f"the surrogate {type(function).__name__} of '{port.name}' has no parameter alpha that "
        f"sets its width"
    )


def _of_snntorch(function: Any, factor: float, width: float) -> tuple[Any, str]:
    """A function of `snntorch.surrogate` is made again, with its one parameter scaled."""
    from snntorch import surrogate  # type: ignore[import-untyped]

    name = str(getattr(function, "__qualname__", "")).partition(".")[0]
    make = getattr(surrogate, name, None)
    held = inspect.getclosurevars(function).nonlocals if inspect.isfunction(function) else {}
    numbers = {k: v for k, v in held.items() if isinstance(v, int | float)}
    if make is not None and len(numbers) == 1:
        ((parameter, value),) = numbers.items()
        if parameter in inspect.signature(make).parameters:
            made = make(**{parameter: value * factor})
            if abs(SeenSpike(made, own=False).width() / width - 1) < _NEAR:
                return made, f"{name}({parameter}={value * factor:.4g})"
    own = FastSigmoid((math.sqrt(2) - 1) / width)
    return own, f"saltation's {own}"
