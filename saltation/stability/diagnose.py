"""Why a network does not learn: one pass forward and back, looked at layer by layer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from saltation.errors import SaltationError, positive
from saltation.interop import adapt
from saltation.stability.closed import Gradients, waiting
from saltation.stability.criterion import Loss, applied, logits_of
from saltation.stability.depth import depth_growth
from saltation.stability.diagnosis import Diagnosis
from saltation.stability.evaluation import modes
from saltation.stability.gradients import GradientHealth, matrix_health
from saltation.stability.layer import Finding, Weight
from saltation.stability.lyapunov import lyapunov
from saltation.stability.observe import Seen, observe
from saltation.stability.remedies import REMEDIES
from saltation.stability.result import Lyapunov
from saltation.stability.spared import same_random_numbers, spared
from saltation.stability.taken import taken
from saltation.stability.trial import LONGER, STEPS, Trial, Trials, too_costly, too_fast
from saltation.stability.values import broken_values
from saltation.stability.verdict import LEARNS, frozen, judged, stays_at_chance, verdict
from saltation.stability.whole_looks import looked_around
from saltation.stepping import Stepped

if TYPE_CHECKING:
    pass


def diagnose(
    network: nn.Module | Stepped,
    x: Tensor,
    y: Tensor,
    *,
    loss: Loss | None = None,
    seed: int = 0,
    trial: int | None = None,
    lr: float | None = None,
) -> Diagnosis:
    """Look at a spiking network layer by layer, and say in words what keeps it from learning.

    The network, its gradients, buffers and hidden states and torch's random numbers are left as
    they were.

    Parameters
    ----------
    network : Module or Stepped
        Of saltation, snnTorch or SpikingJelly; see `saltation.adapt` for what it must be like.
    x : Tensor
        A batch of its input, ``[T, B, ...]`` (or what `adapt` says).
    y : Tensor, [B]
        Labels, int64; whatever ``loss`` takes if one is given.
    loss : callable, optional
        ``(output, y) -> scalar``. The output is what ``network(x)`` returns, all of it, or where
        the network is called step by step its outputs stacked over time, each part of a tuple by
        itself. A walk given to `adapt` may return the output.
        Default: cross-entropy of the output, of its mean over time where it is
        ``[T, B, classes]``, and of its first part where it is a tuple.
    seed : int
        Of the perturbations.
    trial : int, optional
        Steps of Adam (learning rate 0.001) that a copy of the weights is trained for on this batch,
        as evidence; 0 for none. Default: 10, 50 if something seems wrong, and none where a step is
        costly: more than 5 million parameters, or 2 million (step, sample, neuron) in a pass.
    lr : float, optional
        Learning rate that training will have: whether some steps with it raise the loss.

    Returns
    -------
    Diagnosis
        Prints as a table of layers, a table of weights and the findings. Of every layer: rate (per
        neuron and step), silent (share of sample and neuron without a spike), dead (share of
        neurons that never spiked), distance (mean |potential - threshold| in half-widths of the
        surrogate's derivative), reached (share of potentials within 3 half-widths), gradient (norm
        of the loss's gradient with respect to the layer's input), growth (factor from the layer
        before, of a perturbation of the first layer).

    Raises
    ------
    SaltationError
        If the network's neurons are not known, no weight of it can be trained, input or labels are
        not what they must be, or the loss is not a number.
    """
    whole = network if isinstance(network, Stepped) else adapt(network)
    _check(whole, x, trial)
    lr = None if lr is None else positive("lr", lr)
    with torch.inference_mode(False), torch.enable_grad(), same_random_numbers(x):
        x = x.clone() if x.is_inference() else x.detach()
        with spared(whole.network):
            return _diagnose(whole, x, y, loss, seed, trial, lr)


def _diagnose(
    whole: Stepped,
    x: Tensor,
    y: Tensor,
    loss: Loss | None,
    seed: int,
    trial: int | None,
    lr: float | None,
) -> Diagnosis:
    broken = broken_values(whole.network)
    try:
        whole, x = taken(whole, x)
        output, seen, called = observe(whole, x)
    except SaltationError:
        if not broken:
            raise
        # A layer refused what the broken weights gave it.
        nan = math.nan
        return Diagnosis([], [], broken, nan, nan, None, None, untried=_NOT_FINITE)
    value = applied(loss, output, y)
    health, weights, gradients = _gradients(whole.network, value, seen, called)
    number = float(value.detach())
    finite = math.isfinite(number) and all(one.finite for one in seen)
    growth, exponents, unmeasured = _growth(whole, x, seed) if finite else ({}, None, [])
    layers = [
        one.layer(gradient, growth.get(one.port.name, math.nan))
        for one, gradient in zip(seen, gradients, strict=True)
    ]
    logits = logits_of(output).detach() if loss is None else None
    classes = 0 if logits is None else logits.shape[-1]
    chance = math.log(classes) if classes > 1 else math.nan

    def of(given: Any) -> Tensor:
        return applied(loss, given, y)

    around: list[Finding] = []
    if finite and not broken and layers:
        around = looked_around(whole, x, layers, seen, logits, number, chance)
        around += modes(whole, x, y, of, chance)

    def again() -> Gradients:
        output, seen, called = observe(whole, x)
        _, weights, gradients = _gradients(whole.network, of(output), seen, called)
        with_gradients = zip(seen, gradients, strict=True)
        return [one.layer(gradient, math.nan) for one, gradient in with_gradients], weights

    notes = frozen(weights)
    looked, held = layers, weights
    if finite and not broken:
        looked, held, closed = waiting(whole.network, layers, weights, again)
        notes += closed
    found = [*broken, *verdict(looked, held, number, logits, exponents, around)]

    tried, untried = None, _NOT_FINITE
    if finite and not broken:
        steps = trial if trial is not None else LONGER if found else STEPS
        untried = too_costly(whole.network, seen) if trial is None else "trial=0" * (trial == 0)
        if not untried:
            trials = Trials(whole, x, of, seen)
            try:
                tried = trials.of_all(steps)
                if trial is None and not found and tried.fall < LEARNS:
                    tried = trials.of_all(LONGER)
                found, refuted = judged(
                    found, layers, chance, tried, trials.alone, _remedied(trials)
                )
                notes += refuted
                found += [] if lr is None else too_fast(trials.at, lr)
                found = found or stays_at_chance(tried, chance)
            except Exception as error:  # of modules that take no other weights, of the user's loss
                tried, untried = None, f"{type(error).__name__}: {error}".splitlines()[0]
    tangent, two = exponents or (None, None)
    exponent = tangent, two, unmeasured
    return Diagnosis(layers, health, found, number, chance, *exponent, notes, tried, untried)


def _remedied(trials: Trials) -> Callable[[str, int], Trial | None]:
    """Trials of the network with a remedy."""

    def treated(name: str, steps: int) -> Trial | None:
        try:
            return trials.treated(REMEDIES[name]().apply, steps)
        except SaltationError:  # it was refused
            return None

    return treated


_NOT_FINITE = "values are not finite"


def _growth(
    whole: Stepped, x: Tensor, seed: int
) -> tuple[dict[str, float], tuple[Lyapunov, Lyapunov | None] | None, list[str]]:
    """Growth from layer to layer by name, both exponents over time, and why one is missing."""
    reasons: list[str] = []

    def measured(**options: Any) -> Lyapunov | None:
        try:
            return lyapunov(whole, x, seed=seed, **options)
        except SaltationError as error:  # of a network, window or precision it cannot be had of
            reasons.append(str(error))
            return None

    with torch.no_grad():
        depth = depth_growth(whole, x, seed=seed)
        # Where more is handed on than states, a perturbation cannot be rescaled between steps.
        tangent = measured(estimator="tangent" if whole.closed else "telescoped")
        # The first step of two trajectories also counts how many components were perturbed.
        later = int(tangent is not None and tangent.horizon > 1)
        two = measured(estimator="finite", transient=later)
    growth = depth.growth.mean(1).exp().tolist()
    exponents = None if tangent is None else (tangent, two)
    return dict(zip(depth.layers[1:], growth, strict=True)), exponents, reasons


def _check(whole: Stepped, x: Any, trial: Any) -> None:
    if not any(p.requires_grad for p in whole.network.parameters()):
        raise SaltationError("the loss does not depend on any weight that can be trained")
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.numel() == 0:
        form = f"{x.dtype} {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise SaltationError(f"the input must be a floating-point tensor with samples, got {form}")
    broken = int((~torch.isfinite(x)).sum())
    if broken:
        raise SaltationError(
            f"the input must be finite, got {broken} of {x.numel()} values that are not"
        )
    if trial is not None and (isinstance(trial, bool) or not isinstance(trial, int) or trial < 0):
        raise SaltationError(f"trial must be a number of steps of at least 0, got {trial!r}")


def _gradients(
    network: nn.Module, value: Tensor, seen: list[Seen], called: set[str]
) -> tuple[list[GradientHealth], list[Weight], list[list[Tensor]]]:
    """Health of the matrices' gradients; every parameter; the gradients of each layer's input."""
    named = {name: p for name, p in network.named_parameters() if p.requires_grad}
    inputs = [[x for x in one.inputs if x.requires_grad] for one in seen]
    wanted = [*named.values(), *(x for one in inputs for x in one)]
    found: Sequence[Tensor | None] = [None] * len(wanted)
    if value.requires_grad:
        found = torch.autograd.grad(value, wanted, allow_unused=True, retain_graph=True)
    of_weights = dict(zip(named, found, strict=False))
    weights, health = [], []
    for name, p in network.named_parameters():
        gradient, module = of_weights.get(name), name.rpartition(".")[0]
        norm = None if gradient is None else float(gradient.double().norm())
        size = float(p.detach().double().norm())
        weights.append(Weight(name, size, norm, p.ndim, module in called, not p.requires_grad))
        if p.requires_grad and p.ndim >= 2:
            health.append(
                matrix_health(name, torch.zeros_like(p) if gradient is None else gradient)
            )
    rest = zip(wanted[len(named) :], found[len(named) :], strict=True)
    of_inputs = [
        [torch.zeros_like(x) if g is None else g for x, g in itertools.islice(rest, len(one))]
        for one in inputs
    ]
    return health, weights, of_inputs
