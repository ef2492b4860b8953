"""Networks of any library, run step by step with the states of their neurons in hand."""

from saltation.stepping.form import settled, stepped
from saltation.stepping.ports import LayerPort, Port, RefusedError, SeenSpike, State
from saltation.stepping.session import (
    Call,
    Control,
    Session,
    Slices,
    Stepped,
    Unchanged,
    Walk,
    by_steps,
    in_its_loop,
    undisturbed,
)

__all__ = [
    "Call",
    "Control",
    "LayerPort",
    "Port",
    "RefusedError",
    "SeenSpike",
    "Session",
    "Slices",
    "State",
    "Stepped",
    "Unchanged",
    "Walk",
    "by_steps",
    "in_its_loop",
    "settled",
    "stepped",
    "undisturbed",
]
