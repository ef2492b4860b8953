"""The transfer study: what of a network's accuracy is left when it is run at another dt.

Every network is trained at one dt and run at all, at the same biological time and on the same input
events: with only dt changed, and mapped so that spikes keep their charge or their current.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, ClassVar, Self

import pandas as pd
import torch
from pydantic import Field, model_validator
from rich.console import RenderableType
from torch import nn

from saltation.data import Dataset, batches
from saltation.errors import ConfigError, choose
from saltation.layers import allow_other_numerics
from saltation.layers.readout import READOUTS
from saltation.numerics import at_dt
from saltation.random import TEST
from saltation.studies.engine.bounds import Positive, Several, Some
from saltation.studies.engine.config import names
from saltation.studies.engine.rows import Record
from saltation.studies.integrators.config import CURRENTS, IntegratorsConfig
from saltation.studies.integrators.study import IntegratorsStudy
from saltation.studies.integrators.trial import IntegratorsTrial, answered, network_of
from saltation.studies.transfer.report import draw_transfer, transfer_tables, transfer_verdict
from saltation.training import EpochRecord

NAIVE = "naive"
# What a mapping preserves, of each kind of input: an impulse has its charge by itself.
MAPPINGS: dict[str, tuple[str, ...]] = {
    "held": (NAIVE, "charge", "current"),
    "impulse": (NAIVE, "charge"),
}


class TransferConfig(IntegratorsConfig):
    """What of a network's accuracy is left at another dt than it was trained at."""

    neurons: Annotated[list[str], Field(min_length=1), Several] = ["lif"]
    """Neuron models."""
    schemes: Annotated[list[str], Field(min_length=1), Several] = ["exponential"]
    """Integration schemes."""
    dt: Annotated[list[Positive], Some, Several] = [1.0, 0.5, 0.25]
    """Lengths of a step to train at; each network is run at all of them."""
    input: Annotated[
        list[str],
        Field(description="What a spike is to a neuron: held, impulse."),
        Several,
    ] = ["held", "impulse"]
    readout: str = Field("mean", description=f"Of the output layer over time: {names(READOUTS)}.")

    targets: ClassVar = False

    @model_validator(mode="after")
    def _check_time(self) -> Self:
        if self.steps is not None:
            raise ConfigError(
                "networks are run at other dt for the same time: give bio_time in place of steps"
            )
        return self


class TransferStudy(IntegratorsStudy):
    """Train one network at every dt, and run it at all others.

    >>> from saltation.studies import TransferStudy
    >>> results = TransferStudy(dataset="digits", dt=[1.0, 0.5], epochs=5).run()
    """

    name = "transfer"
    question = "What is left of a network's accuracy at another time step than it was trained at?"
    needs: ClassVar = {}
    config_type = TransferConfig
    data_parallel = False

    def trials(self) -> list[IntegratorsTrial]:
        c = self.config
        steps = [c.steps_at(dt) for dt in c.dt]
        return [t | {"run_dt": list(c.dt), "run_steps": steps} for t in super().trials()]

    def measured(
        self, record: EpochRecord, network: nn.Module, trial: IntegratorsTrial, data: Dataset
    ) -> EpochRecord:
        """After the last epoch, what a sample costs, and accuracies at every dt, a list for each
        mapping."""
        record = super().measured(record, network, trial, data)
        if record.epoch < trial["epochs"]:
            return record
        found = {
            f"at_dt_{mapping}": [
                accuracy(network, trial, data, dt, mapping) for dt in trial["run_dt"]
            ]
            for mapping in MAPPINGS[trial["input"]]
        }
        return replace(record, found={**record.found, **found})

    def report(self, records: list[Record]) -> None:
        super().report(records)
        draw_transfer(records, self.folder / "figures")

    def verdict(self, results: pd.DataFrame) -> list[str]:
        return transfer_verdict(results)

    def tables(self, results: pd.DataFrame) -> RenderableType:
        return transfer_tables(results)

    def findings(self, record: Record) -> dict[str, Any]:
        """Columns ``<mapping> at <dt>``, test accuracy in percent, and those of the cost."""
        last = record["epochs"][-1] if record["epochs"] else {}
        dts = record["settings"].get("run_dt", [])
        return {
            f"{mapping} at {dt:g}": value
            for mapping in MAPPINGS[record["settings"].get("input", "held")]
            for dt, value in zip(dts, last.get(f"at_dt_{mapping}", []), strict=False)
        } | super().findings(record)


def accuracy(
    network: nn.Module, trial: IntegratorsTrial, data: Dataset, dt: float, mapping: str
) -> float:
    """Test accuracy in percent of a trained network that is run at ``dt``."""
    choose("mapping", mapping, (NAIVE, *MAPPINGS["held"][1:]))
    there = trial | {"dt": dt, "steps": trial["run_steps"][trial["run_dt"].index(dt)]}
    if mapping == NAIVE:
        at: nn.Module = network_of(there, data).to(next(network.parameters()).device)
        with allow_other_numerics():
            at.load_state_dict(network.state_dict())
    else:
        drive = "currents" if trial["encoder"] == CURRENTS else "auto"
        at = at_dt(network, dt, preserve=mapping, drive=drive).network
    at.eval()
    right = 0
    with torch.no_grad():
        for batch in batches(data.test, trial["batch_size"]):
            outputs = answered(at, there, batch, trial["epochs"], TEST)
            right += int((outputs.argmax(1) == batch.labels).sum())
    return 100 * right / len(data.test)
