"""Integration schemes: each is one step made of an ODE's velocity, and knows its order and limit.

A scheme is given a `System`, whatever its neuron, and makes the state at the end of a step from the
current and the state at its start. On a linear system ``dy/dt = J y`` a step is the multiplication
with a matrix, `Scheme.amplification`, which every scheme that is a formula in the velocity finds by
running itself on unit vectors; a step is stable when no mode grows: the spectral radius of that
matrix is at most one. So adding a scheme is adding its step.

Sources: Hairer, Norsett & Wanner, "Solving Ordinary Differential Equations I", 1993 (Runge-Kutta);
Hairer & Wanner, II, 1996 (stability functions); Hochbruck & Ostermann, "Exponential integrators",
2010 (Rosenbrock-Euler); Hairer, Lubich & Wanner, "Geometric Numerical Integration", 2006
(symplectic Euler); Shu & Osher, J. Comput. Phys., 1988 (SSP); Rush & Larsen, IEEE Trans. Biomed.
Eng., 1978 (exponential per variable).
"""

from __future__ import annotations

from saltation.schemes.base import SCHEMES, Scheme, System, add_scheme, get_scheme, stacked
from saltation.schemes.exponential import ExponentialScheme, PerVariableScheme
from saltation.schemes.partitioned import PartitionedScheme
from saltation.schemes.rational import RationalScheme
from saltation.schemes.runge_kutta import Tableau

__all__ = [
    "SCHEMES",
    "ExponentialScheme",
    "PartitionedScheme",
    "PerVariableScheme",
    "RationalScheme",
    "Scheme",
    "System",
    "Tableau",
    "add_scheme",
    "get_scheme",
    "stacked",
]

_HALF, _THIRD, _SIXTH = 1 / 2, 1 / 3, 1 / 6

for _scheme in (
    Tableau("euler", "explicit Euler"),
    ExponentialScheme("exponential", "exponential"),
    PartitionedScheme("symplectic", "symplectic Euler, w first"),
    PartitionedScheme("symplectic_v", "symplectic Euler, v first", potential_first=True),
    Tableau("rk2", "Heun (RK2)", a=((1,),), b=(_HALF, _HALF)),
    Tableau("rk3", "Kutta (RK3)", a=((_HALF,), (-1, 2)), b=(_SIXTH, 2 * _THIRD, _SIXTH)),
    Tableau(
        "ssprk3", "Shu-Osher (SSPRK3)", a=((1,), (1 / 4, 1 / 4)), b=(_SIXTH, _SIXTH, 2 * _THIRD)
    ),
    Tableau("heun", "Heun", a=((1,),), b=(_HALF, _HALF)),
    Tableau(
        "rk4",
        "classical RK4",
        a=((_HALF,), (0, _HALF), (0, 0, 1)),
        b=(_SIXTH, _THIRD, _THIRD, _SIXTH),
    ),
    PerVariableScheme("exponential_split", "exponential per variable"),
    PerVariableScheme("exponential_symplectic", "exponential per variable, in turn", in_turn=True),
    RationalScheme("implicit_euler", "implicit Euler", denominator=(1, -1)),
    RationalScheme("trapezoid", "trapezoidal rule", numerator=(1, _HALF), denominator=(1, -_HALF)),
):
    add_scheme(_scheme)
