"""From the diagnosis to the cure: remedies tried on copies, and those kept that help."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor, nn

from saltation import inline
from saltation.errors import SaltationError, positive
from saltation.stability.criterion import Loss
from saltation.stability.cure_search import Attempt, Search
from saltation.stability.cure_trials import CureTrials, Outcome
from saltation.stability.remedies import Treatment
from saltation.stability.remedies.passes import copied
from saltation.stepping import Stepped

if TYPE_CHECKING:
    import pandas as pd

_FAR = 0.1  # share of chance from which a score of a network in evaluation is not to be trusted


@dataclass(frozen=True)
class Cure:
    """What `cure` found.

    Attributes
    ----------
    network : Module
        A copy of the network with the remedies that helped, untrained.
    lr : float
        The learning rate of the trials, three times it where the mended network learnt as well, or
        a smaller one where it learnt with no other.
    treatments : list of Treatment
        What was changed, in this order.
    attempts : list of Attempt
        All that was tried.
    findings : list of str
        Kinds of what was wrong.
    before, after : Outcome
        Of the trials of the given and of the cured network.
    chance : float
        The loss of a network that knows nothing.
    """

    network: nn.Module
    lr: float
    treatments: list[Treatment]
    attempts: list[Attempt]
    findings: list[str]
    before: Outcome
    after: Outcome
    chance: float
    trial: str = field(default="")

    @property
    def table(self) -> pd.DataFrame:
        """What the trials came to, before and after; a row each measure."""
        import pandas as pd  # slow to import

        rows = {
            "held-out loss": (self.before.loss, self.after.loss),
            "with batch statistics": (self.before.batch_loss, self.after.batch_loss),
            "held-out accuracy": (self.before.accuracy, self.after.accuracy),
        }
        return pd.DataFrame.from_dict(rows, orient="index", columns=["before", "after"])

    @property
    def tried(self) -> pd.DataFrame:
        """All attempts, a row each."""
        import pandas as pd

        rows = [
            {
                "remedy": one.remedy,
                "loss": one.outcome.loss if one.outcome else math.nan,
                "batch loss": one.outcome.batch_loss if one.outcome else math.nan,
                "accuracy": one.outcome.accuracy if one.outcome else math.nan,
                "": "kept" if one.kept else "refused" if one.why else "",
            }
            for one in self.attempts
        ]
        return pd.DataFrame(rows, columns=["remedy", "loss", "batch loss", "accuracy", ""])

    def __str__(self) -> str:
        wrong = ", ".join(self.findings) or "nothing"
        lines = [f"found: {wrong} (chance: {self.chance:.3f}; {self.trial})"]
        if self.attempts:
            lines += [self.tried.to_string(index=False, float_format="{:.3f}".format), ""]
        lines.append(self.table.to_string(float_format="{:.3f}".format))
        if self.after.loss - self.after.batch_loss > _FAR * self.chance:
            lines += ["", "evaluation still disagrees with training: trust no score of it yet"]
        kept = [one.remedy for one in self.attempts if one.kept]
        lines += [
            "",
            f"kept: {', '.join(kept)}" if kept else "kept: nothing, the network is a copy",
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """As it prints, in a notebook."""
        return inline.text(str(self))


def cure(
    network: nn.Module | Stepped,
    x: Tensor,
    y: Tensor,
    *,
    loss: Loss | None = None,
    lr: float = 3e-3,
    steps: int = 100,
    batch_size: int = 32,
    seed: int = 0,
) -> Cure:
    """Find what keeps a spiking network from learning, and mend it in a copy.

    `diagnose` names what is wrong, and a trial shows whether the network learns: some steps of Adam
    with a cosine schedule on three quarters of the batch, then the loss on the rest, in evaluation
    mode and with the statistics of the batch. Remedies that answer the findings are then applied to
    copies, cause by cause, and go through the same trial, with the same order of samples. Before it
    is evaluated the running statistics of normalisations are taken again, for in a few steps they
    do not settle. Of each cause the best is kept if it helps: if the loss with the statistics of
    the batch falls by 2 % of chance's, and for remedies of these statistics the mean of both
    losses. Where something was kept, those that did not help before are tried again on top of it,
    and so are surrogates where the loss has fallen by a tenth of chance's since one was chosen.
    Sizes of weights are set only for what is still found by then. A network without a finding that
    learns is left alone.

    To the findings of `diagnose` it adds two of its trial: ``does not learn``, and ``modes
    disagree`` where in evaluation mode the loss is larger by 2 % of chance's.

    Parameters
    ----------
    network : Module or Stepped
        Of saltation, snnTorch or SpikingJelly, as for `diagnose`; it is left as it was.
    x : Tensor
        A batch of its input, as for `diagnose`, of some hundred samples: a trial must be able to
        learn from them.
    y : Tensor, [B]
        Labels.
    loss : callable, optional
        ``(output, y) -> scalar``; default: as of `diagnose`.
    lr : float, default 3e-3
        Learning rate of the trials.
    steps : int, default 100
        Steps of a trial.
    batch_size : int, default 32
        Samples of a step, at most.
    seed : int
        Of the split, the order of samples and dropout.

    Returns
    -------
    Cure
        ``cure(...).network`` is the mended copy, untrained; it prints as a table of what was tried.

    Raises
    ------
    SaltationError
        If the network's neurons are not known, the batch has fewer than 16 samples, or a number is
        out of range.

    Examples
    --------
    >>> found = st.cure(net, images, labels)
    >>> print(found)
    >>> net = found.network
    """
    positive("lr", lr)
    for name, count in (("steps", steps), ("batch_size", batch_size)):
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise SaltationError(f"{name} must be a positive integer, got {count!r}")
    trials = CureTrials(network, x, y, loss, lr, steps, batch_size, seed)
    search = Search(trials, copied(trials.whole.network))
    search.run()
    return Cure(
        search.network,
        search.lr,
        search.treatments,
        search.attempts,
        search.findings,
        search.first,
        search.best,
        trials.chance,
        f"trials of {steps} steps of Adam, learning rate {lr:g}",
    )
