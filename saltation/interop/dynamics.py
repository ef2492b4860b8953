"""How neurons of any library are given another time constant or another reset."""

from __future__ import annotations

import math
from typing import Any

import torch

from saltation.errors import SaltationError, positive
from saltation.interop.norse import NorsePort
from saltation.interop.parameters import _layer, _number, resistance_and_capacity
from saltation.neurons import LIFNeuron
from saltation.stepping import LayerPort, Port


def steps_of(port: Port) -> float:
    """The membrane's time constant in steps, by what a step leaves of the potential: infinite
    without a leak, 0 where nothing is left, NaN where it is not known."""
    try:
        decay = _decay(port)
    except SaltationError:  # neurons that differ among themselves were given what they have
        return math.nan
    if not 0 < decay < 1:
        return math.inf if decay >= 1 else 0.0 if decay <= 0 else math.nan
    return -1 / math.log(decay)


def _decay(port: Port) -> float:
    if isinstance(port, LayerPort):
        neuron = _layer(port).neuron
        step = neuron.affine_step if isinstance(neuron, LIFNeuron) else None
        return math.nan if step is None or neuron.tensors else float(step.m[0][0])
    if isinstance(port, NorsePort):
        return port.decay
    module: Any = port.module
    kind = type(module).__name__
    if kind == "Lapicque":
        return 1 - _number(port, module.time_step) / resistance_and_capacity(port)
    if kind in ("Leaky", "RLeaky"):
        return _number(port, module.beta)
    return 1 - 1 / _number(port, module.tau) if kind == "LIFNode" else math.nan


def set_steps(port: Port, steps: float) -> str:
    """Give a module's neurons a time constant of so many steps.

    Parameters
    ----------
    port
        The module.
    steps
        Time constant over step.

    Returns
    -------
    The new parameter, in words.

    Raises
    ------
    SaltationError
        If its time constant is not known; it is then as it was.
    """
    positive("steps", steps)
    if math.isnan(steps_of(port)):
        raise SaltationError(f"the time constant of '{port.name}' is not known")
    decay = math.exp(-1 / steps)
    if isinstance(port, LayerPort):
        old: Any = _layer(port).neuron
        beta = old.beta is not None
        new = {"beta": decay} if beta else {"tau": steps * old.dt}
        _replace(port, **new)
        return f"beta={decay:.4g}" if beta else f"tau={steps * old.dt:.4g}"
    module: Any = port.module
    if isinstance(port, NorsePort):
        port.set(tau_mem_inv=(1 - decay) / module.dt)
        return f"tau_mem_inv={port.one('tau_mem_inv'):.4g}"
    if type(module).__name__ == "LIFNode":
        module.tau = 1 / (1 - decay)
        return f"tau={module.tau:.4g}"
    if type(module).__name__ == "Lapicque":
        module.C = module.time_step / torch.as_tensor(1 - decay)
        return f"C={float(module.C):.4g}"
    with torch.no_grad():
        module.beta.copy_(torch.full_like(module.beta, decay))
    return f"beta={decay:.4g}"


def threshold_of(port: Port) -> float:
    """The threshold above rest, the mean of those of a module's neurons; NaN where not known."""
    if isinstance(port, LayerPort):
        neuron: Any = _layer(port).neuron
        return float(getattr(neuron, "v_threshold", math.nan) - getattr(neuron, "v_rest", 0.0))
    module: Any = port.module
    if isinstance(port, NorsePort):
        p = module.p
        away = torch.as_tensor(getattr(p, "v_th", math.nan)) - torch.as_tensor(
            getattr(p, "v_leak", 0.0)
        )
        return float(away.double().mean())
    given = getattr(module, "threshold", getattr(module, "v_threshold", math.nan))
    rest = getattr(module, "v_reset", None) if hasattr(module, "v_threshold") else None
    return float(torch.as_tensor(given, dtype=torch.float64).mean()) - float(rest or 0.0)


def is_hard(port: Port) -> bool | None:
    """Whether potentials are set to a value after a spike; None where it is not known."""
    if isinstance(port, LayerPort):
        jump = getattr(_layer(port).neuron, "jump", None)
        return None if jump is None else jump == "hard"
    module: Any = port.module
    if isinstance(port, NorsePort):
        reset = getattr(module.p, "reset_method", None)
        return reset is None or reset.__name__ == "reset_value"
    if hasattr(module, "reset_mechanism"):
        # What it does is a method, which is set with the mechanism.
        known = hasattr(module, "state_function") and hasattr(module, "_base_zero")
        return bool(module.reset_mechanism == "zero") if known else None
    if hasattr(module, "v_reset"):
        return module.v_reset is not None
    return None


def set_hard(port: Port) -> str:
    """Let a module's neurons go to rest after a spike.

    Returns
    -------
    The new parameter, in words.

    Raises
    ------
    SaltationError
        If its reset cannot be set; it is then as it was.
    """
    if is_hard(port) is None:
        raise SaltationError(f"the reset of '{port.name}' is not known")
    if isinstance(port, LayerPort):
        _replace(port, jump="hard")
        return "jump='hard'"
    module: Any = port.module
    if isinstance(port, NorsePort):
        from norse.torch.functional.reset import reset_value

        module.p = module.p._replace(reset_method=reset_value)
        return "reset_method=reset_value"
    if hasattr(module, "reset_mechanism"):
        module.reset_mechanism, module.state_function = "zero", module._base_zero
        return "reset_mechanism='zero'"
    module.v_reset = 0.0
    return "v_reset=0"


def _replace(port: LayerPort, **new: Any) -> None:
    """Put a neuron with some other parameters into a layer of saltation."""
    layer = _layer(port)
    old = layer.neuron
    values = {name: getattr(old, name) for name in old.parameters()}
    # LIF takes its decay per step or the constants that it follows from, not both.
    if isinstance(old, LIFNeuron):
        drop = ("beta",) if old.beta is None else ("tau", "dt", "scheme")
        values = {name: value for name, value in values.items() if name not in drop}
    layer.neuron = type(old)(**{**values, **new})
