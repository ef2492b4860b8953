"""Balanced resonate-and-fire: no reset, but a refractory threshold and damping after a spike.

Source: Higuchi, Kairat, Bohté & Otte, "Balanced resonate-and-fire neurons", ICML 2024.
"""

from __future__ import annotations

from typing import Any

from saltation.neurons.base import Neuron


class BalancedResonateAndFireNeuron(Neuron):
    """Balanced resonate-and-fire neuron.

    ``dz/dt = (b - q + i omega) z + x`` with ``z = v + i u``, ``tau_q dq/dt = -q``; spike where
    ``v >= v_threshold + q``; then ``q = q + 1``: z is not reset but damped for a while (Higuchi et
    al., 2024). It starts at 0.

    Higuchi et al. take Euler's steps of 0.01 and balance their growth by the damping ``b =
    (sqrt(1 - (dt omega)^2) - 1) / dt - b_offset``, at which ``b_offset = 0`` neither grows nor
    decays; with ``scheme="exponential"`` that is at ``b = 0``. Their q decays by 0.9 in a step,
    after the spike is tested.

    Parameters
    ----------
    dt : float, default 1
        Length of a step.
    scheme : str, default "exponential"
        ``exponential`` (Rosenbrock-Euler), ``euler``, ``symplectic``, ``rk2``, ``rk4``, ...
    b : float, default -0.1
        Damping without a spike, below 0 for an oscillation that decays, per unit of time.
    omega : float, default 0.5
        Angular frequency, in radians per unit of time.
    tau_q : float, default 10
        Time constant of what a spike leaves.
    v_threshold : float, default 1
        Threshold of v. Constant x drives v towards ``-b x / (b^2 + omega^2)``: it answers to input
        that changes.
    v_reset : float, default 0
        Where v starts; no spike resets it.
    jump : str, default "hard"
        ``hard`` (q = q + 1) or ``none``.
    detach_reset : bool, default False
        Whether gradients do not pass through the spike in the jump.

    Raises
    ------
    SaltationError
        If a parameter is out of range, or a scheme or jump unknown.
    """

    dt: float = 1.0
    scheme: str = "exponential"
    b: float = -0.1
    omega: float = 0.5
    tau_q: float = 10.0
    v_threshold: float = 1.0
    v_reset: float = 0.0
    jump: str = "hard"
    detach_reset: bool = False

    name = "balanced_resonate_and_fire"
    title = "balanced resonate-and-fire"
    jumps = ("hard", "none")

    def velocity(self, x: Any, v: Any, u: Any, q: Any) -> Any:
        damping = self.b - q
        return damping * v - self.omega * u + x, self.omega * v + damping * u, -q / self.tau_q

    def threshold(self, v: Any, u: Any, q: Any) -> Any:
        return self.v_threshold + q

    def own_jump(self, v: Any, u: Any, q: Any) -> Any:
        return v, u, q + 1.0

    def initial(self) -> Any:
        return self.v_reset, 0.0, 0.0

    @property
    def fixed_point(self) -> Any:
        return 0.0, 0.0, 0.0
