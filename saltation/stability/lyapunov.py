"""Lyapunov exponents of networks, maps and flows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError, choose, positive
from saltation.stability.duals import differentiable
from saltation.stability.entry import estimate, ordinary
from saltation.stability.estimators import Tangents, TwoTrajectories
from saltation.stability.recurrent import currents, follow, only_layer
from saltation.stability.resets import without_reset
from saltation.stability.result import Lyapunov
from saltation.stability.taken import need_closed, need_copies, need_steps, taken
from saltation.stability.telescoped import Stretches, Telescoped, Unbroken
from saltation.stepping import Session, Slices, State, Stepped

ESTIMATORS = ("tangent", "telescoped", "finite")


@estimate
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
    reset: bool = True,
) -> Lyapunov:
    """Lyapunov exponents of a spiking network that is driven by ``x``.

    The network is a driven map, ``state[t] = F(state[t-1], x[t])``, of the states of all its
    neurons: potentials, adaptation, synaptic variables, and the spikes that feed back. Its largest
    exponent says how fast a small perturbation grows (> 0) or is forgotten (< 0) from step to step.

    ``tangent``
        The linearised map, with the surrogate's derivative in place of the step function's, applied
        to k orthonormal vectors. This is what backpropagated errors meet. (Engelken & Abbott, 2024)
    ``telescoped``
        The same for one vector, up to 16 steps of a layer at once where the network can, so at the
        speed of ordinary training. In between it is pulled back to length 1, more often where its
        growth has no room in the dtype. Gradients are not passed back by states over steps in
        which it grew by more than e^11: they mean nothing then, and those of ``tangent`` overflow.
        Where more than the states of neurons is handed on from step to step nothing is pulled back,
        and what then falls below the dtype in more than 16 steps is refused.
    ``finite``
        Two trajectories a distance eps apart, with true spikes and resets, pulled back together
        after every step (Benettin et al., 1980). A spike that one of them emits and the other does
        not counts as it is, so that the estimate depends on eps. The first step counts from a
        perturbation of eps per component, and so begins with half the logarithm of their number:
        ``transient=1`` leaves it out.

    All are differentiable with respect to the weights: within ``torch.no_grad()`` they cost less.
    The pass leaves the network as it was; dropout is off while it lasts, and batch normalisation in
    training mode takes the statistics of the batch but does not count it. Autocast is off as well,
    and in inference mode the result has no gradient. Perturbations are the same in every dtype, up
    to its rounding.

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
    reset : bool
        Whether the linearisation has the jump in it, for ``tangent`` and ``telescoped``. Without,
        states jump but tangents pass as if they did not, and gradients do not pass through the
        spike in the jump: the exponents of Engelken & Abbott's code (2024). For saltation's layers.

    Returns
    -------
    Lyapunov

    Raises
    ------
    SaltationError
        If an argument is out of range, the network's neurons are not known, it cannot take ``x``,
        or ``eps`` is lost in the rounding of its states.

    References
    ----------
    Benettin, Galgani, Giorgilli & Strelcyn, Meccanica 15, 1980. Engelken & Abbott, "Surrogate
    gradient flossing", NeurIPS 2024. Engelken, "Gradient flossing", NeurIPS 2023, arXiv:2312.17306.
    """
    _check(estimator, k, qr_every, eps, transient, seed)
    whole, x = taken(network, x)
    if samples is not None:
        batch = whole.samples(x)
        if isinstance(samples, bool) or not isinstance(samples, int) or not 1 <= samples <= batch:
            raise SaltationError(f"samples must be from 1 to the batch's {batch}, got {samples!r}")
        x = x.narrow(whole.batch_dim, 0, samples)  # type: ignore[arg-type]
    if not reset:
        if estimator == "finite":
            raise SaltationError("estimator 'finite' has true resets; take 'tangent' for none")
        more: dict[str, Any] = {"transient": transient, "seed": seed}
        with without_reset(whole):
            found = lyapunov(whole, x, estimator=estimator, k=k, qr_every=qr_every, **more)
        return replace(found, settings=found.settings | {"reset": False})
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
    if estimator == "telescoped":
        return _telescoped(whole, x, seed, settings)
    settings["qr_every"] = qr_every
    tangents = Tangents(k, qr_every, seed)
    layer = only_layer(whole)
    driven = None if layer is None else currents(whole, layer, x)
    if layer is not None and driven is not None:
        follow(tangents, layer, driven)
        return tangents.result([whole.ports[0].name], transient, settings)
    if whole.whole and k == 1:
        return _unbroken(whole, x, seed, transient, settings)
    need_steps(whole, f"{k} exponents" if k > 1 else "estimator 'tangent'")
    need_closed(whole, "estimator 'tangent'")
    if k > 1:
        need_copies(whole, f"{k} exponents")
    session = Session(whole, tangents)
    with differentiable():
        session.run(torch.cat([x] * k, whole.batch_dim))  # type: ignore[arg-type]
        tangents.finish(session.states)
        return tangents.result(session.names, transient, settings)


def _telescoped(whole: Stepped, x: Tensor, seed: int, settings: dict[str, Any]) -> Lyapunov:
    if whole.whole or not whole.closed:
        return _unbroken(whole, x, seed, 0, settings)
    with differentiable():
        if not isinstance(whole.walk, Slices):
            control = Telescoped(seed)
            session = Session(whole, control)
            session.run(x)
            return control.result(session.names, 0, settings)
        time = whole.walk.time_dim
        stretches = Stretches(seed, x.shape[time])
        session = Session(whole, stretches)
        while (steps := stretches.next) is not None:
            session.run_at_once(x.narrow(time, *steps))
        return stretches.result(session.names, 0, settings)


def _unbroken(
    whole: Stepped, x: Tensor, seed: int, transient: int, settings: dict[str, Any]
) -> Lyapunov:
    """One exponent of a network in whose steps nothing may be pulled back."""
    control = Unbroken(seed, whole.why or "more than its neurons' states is handed on")
    session = Session(whole, control)
    with differentiable():
        if whole.at_once:
            session.run_at_once(x)
        else:
            session.run(x)
        control.decompose(session.states, session.steps)
        return control.result(session.names, transient, settings)


@ordinary()
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
    _check(estimator, k, qr_every, eps, transient, seed)
    if estimator == "telescoped":
        raise SaltationError("a map goes step by step: take estimator 'tangent' or 'finite'")
    if not isinstance(state, Tensor):
        raise SaltationError(f"the state must be a tensor, got {type(state).__name__}")
    if state.ndim != 2 or not state.is_floating_point() or state.numel() == 0:
        raise SaltationError(
            f"the state must be a floating-point tensor [B, n], got {state.dtype} "
            f"{list(state.shape)}"
        )
    if not isinstance(steps, int) or not transient < steps:
        raise SaltationError(
            f"steps must be an integer, more than the transient {transient}, got {steps!r}"
        )
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
        after = step(states[0][0])
        if after.shape != state.shape:
            raise SaltationError(
                f"step must return a state of the shape it was given, {list(state.shape)}, got "
                f"{list(after.shape)}"
            )
        states = control.advance([(after,)])
    return states


def _check(estimator: str, k: int, qr_every: int, eps: float, transient: int, seed: int) -> None:
    choose("estimator", estimator, ESTIMATORS)
    for name, value, least in (
        ("k", k, 1),
        ("qr_every", qr_every, 1),
        ("transient", transient, 0),
        ("seed", seed, 0),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise SaltationError(f"{name} must be an integer of at least {least}, got {value!r}")
    if k > 1 and estimator != "tangent":
        raise SaltationError(f"estimator '{estimator}' follows one vector, not {k}; take 'tangent'")
    if transient and estimator == "telescoped":
        raise SaltationError("estimator 'telescoped' sees the whole horizon: transient must be 0")
    positive("eps", eps)
