"""Input as impulses: a spike is a jump, and its charge does not depend on the step.

With input held over the step a spike of weight w is a current w for as long as the step lasts, so
its charge, w dt, grows with dt. As an impulse it is ``x(t) = w delta(t - t_k)`` at the start of its
step: charge w. In the equations of a model whose velocity is affine in the input,
``dy/dt = f(y) + g(y) x``, that is a jump of the state,

    y -> y + g(y) w,

after which the equations run through the step without input. Source: Gerstner, Kistler, Naud &
Paninski, "Neuronal Dynamics", 2014, section 1.3.2 (a pulse of charge q moves a LIF by q / C).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from saltation.affine import Unknown, affine, is_zero
from saltation.derivatives import Dual
from saltation.errors import SaltationError

INPUTS = ("held", "impulse")


def gains(neuron: Any) -> tuple[Any, ...]:
    """What an impulse of charge 1 adds to each variable: numbers and tensors, or an `Unknown`
    where it depends on the state.

    Raises
    ------
    SaltationError
        If the velocity is not affine in the input, or there is none.
    """
    if neuron.is_map:
        raise SaltationError(
            f"{neuron.title} is a discrete map, whose step says what its input does: it takes "
            "input='held' alone"
        )
    state = [Unknown() for _ in type(neuron).State._fields]
    try:
        found = affine(lambda x: neuron.velocity(x, *state), 1)
    except (TypeError, AttributeError, RuntimeError, ValueError):  # no operations on numbers alone
        found = None
    if found is None:
        raise SaltationError(
            f"{neuron.title} has no input='impulse': its velocity is not seen to be affine in the "
            "input, so that what an impulse does is not defined (allowed: held)"
        )
    return tuple(one.factors[0] for one in found)


def struck(neuron: Any, x: Any, state: Sequence[Any]) -> list[Any]:
    """The state right after impulses of charge ``x``."""
    given = neuron.impulse_gains
    if any(isinstance(g, Unknown) for g in given):
        moved = neuron.velocity(Dual(0.0, 1.0), *state)
        given = [part.tangents[0] if isinstance(part, Dual) else 0.0 for part in moved]
    return [
        part if g is None or is_zero(g) else part + met(g, x) * x
        for part, g in zip(state, given, strict=True)
    ]


def met(coefficient: Any, x: Any) -> Any:
    """A coefficient in the type of what it meets."""
    has_type = hasattr(coefficient, "to") and not isinstance(coefficient, Unknown)
    return coefficient.to(x.dtype) if has_type else coefficient
