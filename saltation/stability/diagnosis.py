"""What a diagnosis found, as a table and in words."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from saltation import inline
from saltation.stability.gradients import GradientHealth
from saltation.stability.layer import Finding, Layer
from saltation.stability.result import Lyapunov
from saltation.stability.trial import Trial

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found.

    Attributes
    ----------
    layers : list of Layer
        One for every layer of neurons, in the order of their calls.
    weights : list of GradientHealth
        One for every weight matrix.
    findings : list of Finding
        What is wrong and what to try, the gravest first; empty if nothing was found.
    loss : float
        Of the batch.
    chance : float
        The loss of a network that knows nothing, ln(classes); NaN where classes are not known.
    tangent, finite : Lyapunov or None
        Exponents over time by both estimators; None where values were not finite, or where they
        cannot be had.
    unmeasured : list of str
        Why they cannot: the network is not taken through its input step by step, its precision is
        too low.
    notes : list of Finding
        What is no fault: frozen weights, and looks that the trial contradicts.
    trial : Trial or None
        Some steps of Adam on a copy.
    untried : str
        Why there was no trial.
    """

    layers: list[Layer]
    weights: list[GradientHealth]
    findings: list[Finding]
    loss: float
    chance: float
    tangent: Lyapunov | None
    finite: Lyapunov | None
    unmeasured: list[str] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    trial: Trial | None = None
    untried: str = ""

    @property
    def table(self) -> pd.DataFrame:
        """The layers, a row each."""
        import pandas as pd  # slow to import

        return pd.DataFrame(self.layers, columns=Layer._fields).set_index("name")

    @property
    def weight_table(self) -> pd.DataFrame:
        """The gradients of the weights, a row each."""
        import pandas as pd

        return pd.DataFrame(self.weights, columns=GradientHealth._fields).set_index("name")

    def __str__(self) -> str:
        chance = "" if math.isnan(self.chance) else f" (chance: {self.chance:.3f})"
        lines = [f"loss {self.loss:.4f}{chance}"]
        if self.layers:
            lines += [self.table[_SHOWN].to_string(float_format="{:.3g}".format)]
            lines += ["", "gradients of the weights"]
            lines += [self.weight_table.to_string(float_format="{:.3g}".format)]
        if self.tangent is not None:
            lines += ["", f"λ per step over {self.tangent.horizon} steps: "]
            lines[-1] += f"{float(self.tangent.exponent):+.3f} with the surrogate's derivative"
            if self.finite is not None:
                lines[-1] += f", {float(self.finite.exponent):+.3f} between two trajectories"
        lines += [f"not measured: {reason}" for reason in self.unmeasured]
        tried = f"trial: {self.trial}" if self.trial else f"no trial: {self.untried}"
        lines += ["", tried, ""]
        lines += [f"- {finding}" for finding in self.findings] or ["No fault was found."]
        lines += [f"- no fault: {note}" for note in self.notes]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The same in a notebook: findings first, then the layers, drawn and in a table."""
        chance = "" if math.isnan(self.chance) else f" (chance: {self.chance:.3f})"
        tried = f"trial: {self.trial}" if self.trial else f"no trial: {self.untried}"
        parts = [
            inline.title(f"loss {self.loss:.4f}{chance}; {tried}"),
            inline.listing(list(map(str, self.findings)) or ["No fault was found."]),
            inline.listing(f"no fault: {note}" for note in self.notes),
            inline.listing(f"not measured: {reason}" for reason in self.unmeasured),
        ]
        if self.layers:
            parts += [
                inline.figure(self.plot, "The layers: activity, distance from threshold, growth"),
                self.table[_SHOWN].to_html(float_format="{:.3g}".format),
                inline.title("gradients of the weights"),
                self.weight_table.to_html(float_format="{:.3g}".format),
            ]
        if self.tangent is not None:
            parts += [
                inline.title("λ, with the surrogate's derivative"),
                inline.text(str(self.tangent)),
            ]
        return "".join(parts)

    def plot(self, path: str | Path) -> Path:
        """Draw the layers: activity, distance from threshold, gradients, growth.

        Returns
        -------
        The path of the figure; its ending chooses the format.
        """
        from saltation.stability.figures import draw_diagnosis  # imports matplotlib

        return draw_diagnosis(self, Path(path))


_SHOWN = ["rate", "silent", "dead", "distance", "reached", "gradient", "growth"]
