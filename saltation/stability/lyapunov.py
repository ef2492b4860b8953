"""Lyapunov exponents of networks, maps and flows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError, choose, positive
from saltation.stability.duals import differentiable
from saltation.stability.estimators import Tangents, TwoTrajectories
from saltation.stability.recurrent import currents, follow, only_layer
from saltation.stability.result import Lyapunov
from saltation.stability.taken import need_closed, need_copies, need_steps, taken
from saltation.stepping import Session, State, Stepped

ESTIMATORS = ("tangent", "telescoped", "finite")

NEVER = 2**62  # steps


def lyapunov(
    network: nn.Module | Stepped,
    x: Tensor,
    *,
    estimator: str = "tangent",
    k: int = 1,
    qr_every: int = 1,
    eps: float = 1e-4,
    transient: int = 0,
    samples: int | None = None,
    seed: int = 0,
) -> Lyapunov:
    """Lyapunov exponents of a spiking network that is driven by ``x``.

    The network is a driven map, ``state[t] = F(state[t-1], x[t])``, of the states of all its
    neurons: potentials, adaptation, synaptic variables, and the spikes that feed back. Its largest
    exponent says how fast a small perturbation grows (> 0) or is forgotten (< 0) from step to step.

    ``tangent``
        The linearised map, with the surrogate's derivative in place of the step function's, applied
        to k orthonormal vectors. This is what backpropagated errors meet. (Engelken & Abbott, 2024)
    ``telescoped``
        The same for one vector without renormalisation: all steps of a layer at once where the
        network can, so at the speed of ordinary training. For short x: over many steps numbers
        over- or underflow.
    ``finite``
        Two trajectories a distance eps apart, with true spikes and resets, pulled back together
        after every step (Benettin et al., 1980). A spike that one of them emits and the other does
        not counts as it is, so that the estimate depends on eps. The first step counts from a
        perturbation of eps per component, and so begins with half the logarithm of their number:
        ``transient=1`` leaves it out.

    All are differentiable with respect to the weights: within ``torch.no_grad()`` they cost less.
    The pass leaves the network as it was; dropout is off while it lasts, and batch normalisation in
    training mode takes the statistics of the batch but does not count it.

    Parameters
    ----------
    network : Module or Stepped
        A network of saltation, snnTorch or SpikingJelly; see `saltation.adapt` for what it must be
        like, and for those it must be told more about.
    x : Tensor, [T, B, ...]
        Its input; or what the network takes in its place, such as images that it shows for T steps.
    estimator : str
        One of the above.
    k : int
        Number of exponents, for ``tangent``.
    qr_every : int
        Steps between decompositions, for ``tangent``: 1 is safest; more cost less, as long as the
        vectors do not align in between.
    eps : float
        Distance of the trajectories, for ``finite``.
    transient : int
        Steps that are not counted, while perturbations turn into the directions that grow.
    samples : int, optional
        Use only the first so many samples of the batch.
    seed : int
        Of the first perturbations.

    Returns
    -------
    Lyapunov

    Raises
    ------
    SaltationError
        If an argument is out of range, or the network's neurons are not known.

    References
    ----------
    Benettin, Galgani, Giorgilli & Strelcyn, Meccanica 15, 1980. Engelken & Abbott, "Surrogate
    gradient flossing", NeurIPS 2024. Engelken, "Gradient flossing", NeurIPS 2023, arXiv:2312.17306.
    """
    _check(estimator, k, qr_every, eps, transient)
    whole, x = taken(network, x)
    if samples is not None:
        batch = whole.samples(x)
        if isinstance(samples, bool) or not isinstance(samples, int) or not 1 <= samples <= batch:
            raise SaltationError(f"samples must be from 1 to the batch's {batch}, got {samples!r}")
        x = x.narrow(whole.batch_dim, 0, samples)  # type: ignore[arg-type]
    settings: dict[str, Any] = {"estimator": estimator, "seed": seed}
    if estimator == "finite":
        need_steps(whole, "estimator 'finite'")
        need_closed(whole, "estimator 'finite'")
        need_copies(whole, "estimator 'finite'")
        trajectories = TwoTrajectories(eps, seed)
        session = Session(whole, trajectories)
        session.run(torch.cat([x, x], whole.batch_dim))  # type: ignore[arg-type]
        settings["eps"] = eps
        return trajectories.result(session.names, transient, settings)
    if estimator == "tangent":
        settings["qr_every"] = qr_every
    else:
        qr_every = 1 if whole.at_once else NEVER  # the whole is one step, or none is the last
    tangents = Tangents(k, qr_every, seed)
    layer = only_layer(whole) if estimator == "tangent" else None
    driven = None if layer is None else currents(whole, layer, x)
    if layer is not None and driven is not None:
        follow(tangents, layer, driven)
        return tangents.result([whole.ports[0].name], transient, settings)
    in_one = whole.at_once and (estimator == "telescoped" or (whole.whole and k == 1))
    if not in_one:
        need_steps(whole, f"{k} exponents" if k > 1 else f"estimator '{estimator}'")
    if estimator == "tangent" and not in_one:
        need_closed(whole, "estimator 'tangent'")
    if k > 1:
        need_copies(whole, f"{k} exponents")
    session = Session(whole, tangents)
    with differentiable():
        if in_one:
            session.run_at_once(x)
            tangents.spans = [session.steps]
        else:
            session.run(torch.cat([x] * k, whole.batch_dim))  # type: ignore[arg-type]
            tangents.finish(session.states)
        return tangents.result(session.names, transient, settings)


def lyapunov_map(
    step: Callable[[Tensor], Tensor],
    state: Tensor,
    steps: int,
    *,
    estimator: str = "tangent",
    k: int = 1,
    qr_every: int = 1,
    eps: float = 1e-6,
    transient: int = 0,
    dt: float | None = None,
    seed: int = 0,
) -> Lyapunov:
    """Lyapunov exponents of any map, by the estimators of `lyapunov`.

    Parameters
    ----------
    step : callable
        ``state [B, n] -> state [B, n]``, sample by sample, of differentiable operations of torch.
    state : Tensor, [B, n]
        Where the B trajectories begin.
    steps : int
        Number of steps, the transient included.
    estimator, k, qr_every, eps, transient, seed
        As for `lyapunov`; without ``telescoped``.
    dt : float, optional
        Time of a step: exponents are then per unit of time.

    Returns
    -------
    Lyapunov

    Raises
    ------
    SaltationError
        If an argument is out of range.

    Examples
    --------
    >>> logistic = lambda x: 4 * x * (1 - x)
    >>> start = torch.tensor([[0.3]], dtype=torch.float64)
    >>> st.lyapunov_map(logistic, start, 10000).exponent  # ln 2
    """
    _check(estimator, k, qr_every, eps, transient)
    if estimator == "telescoped":
        raise SaltationError("a map goes step by step: take estimator 'tangent' or 'finite'")
    if state.ndim != 2 or not state.is_floating_point() or state.numel() == 0:
        raise SaltationError(
            f"the state must be a floating-point tensor [B, n], got {state.dtype} "
            f"{list(state.shape)}"
        )
    if not transient < steps:
        raise SaltationError(f"steps must be more than the transient {transient}, got {steps}")
    if dt is not None:
        positive("dt", dt)
    settings: dict[str, Any] = {"estimator": estimator, "seed": seed}
    per_step = 1.0 if dt is None else dt
    if estimator == "finite":
        trajectories = TwoTrajectories(eps, seed)
        _drive(step, trajectories, torch.cat([state, state]), steps)
        settings["eps"] = eps
        return trajectories.result(["state"], transient, settings, per_step)
    tangents = Tangents(k, qr_every, seed)
    with differentiable():
        tangents.finish(_drive(step, tangents, torch.cat([state] * k), steps))
        settings["qr_every"] = qr_every
        return tangents.result(["state"], transient, settings, per_step)


def flow(
    velocity: Callable[[Tensor], Tensor], dt: float, substeps: int = 1
) -> Callable[[Tensor], Tensor]:
    """The map of an ODE over a time ``dt``, by the classical Runge-Kutta scheme of order 4.

    Parameters
    ----------
    velocity : callable
        ``state [B, n] -> its time derivative [B, n]``.
    dt : float
        Time of a step of the map; give it to `lyapunov_map` too.
    substeps : int
        Steps of the scheme within.
    """
    h = positive("dt", dt) / substeps

    def step(state: Tensor) -> Tensor:
        for _ in range(substeps):
            a = velocity(state)
            b = velocity(state + h / 2 * a)
            c = velocity(state + h / 2 * b)
            d = velocity(state + h * c)
            state = state + h / 6 * (a + 2 * b + 2 * c + d)
        return state

    return step


def _drive(
    step: Callable[[Tensor], Tensor], control: Any, state: Tensor, steps: int
) -> list[State]:
    states: list[State] = [control.start("state", (state,))]
    for _ in range(steps):
        states = control.advance([(step(states[0][0]),)])
    return states


def _check(estimator: str, k: int, qr_every: int, eps: float, transient: int) -> None:
    choose("estimator", estimator, ESTIMATORS)
    for name, value, least in (("k", k, 1), ("qr_every", qr_every, 1), ("transient", transient, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise SaltationError(f"{name} must be an integer of at least {least}, got {value!r}")
    if k > 1 and estimator != "tangent":
        raise SaltationError(f"estimator '{estimator}' follows one vector, not {k}; take 'tangent'")
    if transient and estimator == "telescoped":
        raise SaltationError("estimator 'telescoped' sees the whole horizon: transient must be 0")
    positive("eps", eps)
