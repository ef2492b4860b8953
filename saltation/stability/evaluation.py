"""Whether evaluation is the network that was trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from saltation.errors import SaltationError
from saltation.stability.criterion import logits_of
from saltation.stability.layer import Finding, listed
from saltation.stability.observe import output_of
from saltation.stability.remedies.passes import twin_of
from saltation.stability.remedies.running import settle, stuck
from saltation.stability.remedies.statistics import per_step
from saltation.stepping import Stepped

# Losses of the two modes differ by this share of chance's.
_DISAGREES = 0.1
# Logits differ by this share of their spread over samples. With statistics per step 0.2 to 0.3 at
# depth 2, 1.0 at depth 4 and 1.6 at depth 16; with those of all steps up to 0.5, of rounding alone.
_DIFFER = 0.7
_TRACKED = 10  # batches from which running statistics are taken seriously


class _Score(NamedTuple):
    loss: float
    accuracy: float  # percent, NaN where there are no logits
    logits: Tensor | None


def modes(
    whole: Stepped, x: Tensor, y: Tensor, loss: Callable[[Any], Tensor], chance: float
) -> list[Finding]:
    """Normalisations with which evaluation disagrees with training.

    Looked for are a momentum with which running statistics do not follow; running statistics that
    are not those of the data, in a network that was trained; and those that cannot be right,
    because each step is normalised by its own in training and all by one mean in evaluation.
    """
    norms: dict[str, Any] = {
        name: module
        for name, module in whole.network.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }
    lagging = [name for name, norm in norms.items() if stuck(norm)]
    if lagging:
        return [_lagging(lagging, norms[lagging[0]].momentum)]
    if not norms:
        return []
    try:
        return _compared(whole, norms, x, y, loss, chance)
    except SaltationError:  # a walk of the user's without an output, or modules without a copy
        return []


def _lagging(names: list[str], momentum: float) -> Finding:
    what = f"running statistics of {listed(names)} move by {momentum:g} of the way a step "
    what += "(momentum): "
    if momentum < 0.5:
        what += f"after 100 steps {(1 - momentum) ** 100:.0%} of them is what they began with, and "
        what += "evaluation normalises by that"
    else:
        what += "evaluation normalises by the last batch alone"
    advice = "momentum=0.1, which in torch is the share of the new batch"
    return Finding("modes disagree", names[0], what, advice, first=("running_statistics",))


def _compared(
    whole: Stepped,
    norms: dict[str, Any],
    x: Tensor,
    y: Tensor,
    loss: Callable[[Any], Tensor],
    chance: float,
) -> list[Finding]:
    twin = twin_of(whole)
    known = min(int(norm.num_batches_tracked.min()) for norm in norms.values()) >= _TRACKED
    with torch.no_grad():
        twin.network.train()
        trained = _score(twin, x, y, loss)
        twin.network.eval()
        as_is = _score(twin, x, y, loss)
        twin.network.train()
        steps = per_step(twin, x)
        settle(twin, x)
        twin.network.eval()
        settled = _score(twin, x, y, loss)
    bound = _DISAGREES * (chance if chance == chance else abs(trained.loss))
    if known and as_is.loss - trained.loss > bound:
        what = f"evaluation disagrees with training: {_told(trained, as_is)}"
        if as_is.loss - settled.loss > (as_is.loss - trained.loss) / 2:
            what += "; running statistics are not those of the data"
            advice = "running statistics taken again, a momentum of 0.1, larger batches"
            return [Finding("modes disagree", "", what, advice, first=("running_statistics",))]
        return [_of_steps(what, steps)]
    if not steps or trained.logits is None or settled.logits is None:
        return []
    spread = (trained.logits - trained.logits.mean(0)).double().square().mean().sqrt()
    differ = float((trained.logits - settled.logits).double().square().mean().sqrt() / spread)
    if not differ > _DIFFER:
        return []
    what = f"evaluation disagrees with training: logits differ by {differ:.2g} times their spread "
    what += "over samples, with running statistics of this very batch"
    return [_of_steps(what, steps)]


def _of_steps(what: str, names: list[str]) -> Finding:
    if names:
        what += f"; {listed(names)} normalise each step by its own statistics in training, and all "
        what += "steps by one running mean in evaluation"
    advice = "statistics of every step, or of all steps together, in both modes"
    return Finding("modes disagree", names[0] if names else "", what, advice)


def _score(whole: Stepped, x: Tensor, y: Tensor, loss: Callable[[Any], Tensor]) -> _Score:
    output = output_of(whole, x)
    value = float(loss(output))
    try:
        logits = logits_of(output)
    except SaltationError:
        return _Score(value, float("nan"), None)
    if y.dtype != torch.int64 or y.shape != logits.shape[:1]:
        return _Score(value, float("nan"), logits)
    return _Score(value, 100 * float((logits.argmax(1) == y).double().mean()), logits)


def _told(trained: _Score, evaluated: _Score) -> str:
    what = f"the loss is {trained.loss:.3f} with the statistics of the batch and "
    what += f"{evaluated.loss:.3f} in evaluation"
    if trained.accuracy == trained.accuracy:
        what += f", accuracy {trained.accuracy:.1f} and {evaluated.accuracy:.1f} %"
    return what
