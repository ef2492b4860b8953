"""Planted faults in three libraries: the first remedy of the first finding restores learning."""

from __future__ import annotations

import pytest
import torch

import saltation as st

pytest.importorskip("snntorch", reason="the same faults are planted in snnTorch")
pytest.importorskip("spikingjelly", reason="the same faults are planted in SpikingJelly")

from benchmarks import faults

# The kinds of the first finding: by rounding and surrogate a fault over depth shows as one of four.
STEEP = ("steep surrogate", "vanishing gradient", "exploding gradient", "chaotic")
NAMED: dict[str, tuple[tuple[str, ...], str]] = {
    "weights too small": (("silent",), "homeostasis"),
    "weights too large": (STEEP, "surrogate_width"),
    "saturated layer": (("saturated",), "homeostasis"),
    "dead neurons": (("dead",), "spike_aware_variance"),
    "zero weights": (("silent",), "fresh_weights"),
    "constant weights": (("same weights",), "fresh_weights"),
    "surrogate too steep": (STEEP, "surrogate_width"),
    "vanishing by depth": (STEEP, "surrogate_width"),
    "exploding by depth": (STEEP, "surrogate_width"),
    "modes disagree": (("modes disagree",), "running_statistics"),
    "tau in the wrong unit": (("time constant",), "time_constant"),
    "inputs not scaled": (("input size",), "input_scale"),
    "readout too large": (("readout size",), "readout_scale"),
    "readout fed by nothing": (("silent",), "homeostasis"),
}
# A library each, so that CI sees every fault once without training; the slow part sees all.
QUICK = [
    ("weights too small", "saltation"),
    ("constant weights", "snnTorch"),
    ("dead neurons", "snnTorch"),
    ("zero weights", "SpikingJelly"),
    ("modes disagree", "SpikingJelly"),
    ("tau in the wrong unit", "SpikingJelly"),
    ("inputs not scaled", "saltation"),
    ("readout too large", "saltation"),
    ("surrogate too steep", "SpikingJelly"),
]


def test_every_fault_has_a_finding_to_it() -> None:
    assert set(NAMED) == set(faults.FAULTS) - {faults.HEALTHY}


@pytest.mark.parametrize(("name", "library"), QUICK)
def test_the_fault_is_named_and_its_remedy_applies(name: str, library: str) -> None:
    """And what is mended has that finding no more."""
    fault, places = faults.FAULTS[name], torch.arange(32)
    net = faults.network(library, fault.planted)
    x, y = faults.shown(places, fault.planted), faults.digits()[1][places]
    (first, *_) = st.diagnose(net, x, y).findings
    kinds, remedy = NAMED[name]
    assert first.kind in kinds
    assert first.remedies[0] == remedy
    st.REMEDIES[remedy]().apply(net, x, y)
    found = st.diagnose(net, x, y, trial=0)
    assert first.kind not in [one.kind for one in found.findings]


@pytest.mark.parametrize("library", ["saltation", "SpikingJelly"])
def test_the_healthy_network_is_left_alone(library: str) -> None:
    places = torch.arange(48)
    net = faults.network(library, {})
    assert st.diagnose(net, faults.shown(places, {}), faults.digits()[1][places]).findings == []


def test_a_mended_network_learns_as_its_twin() -> None:
    """In two epochs; as it is it learns nothing."""
    found = faults.row("zero weights", "saltation", epochs=2)
    assert found.accuracy < 20
    assert found.mended > 70
    assert found.restored


@pytest.mark.slow
@pytest.mark.parametrize("library", faults.LIBRARIES)
@pytest.mark.parametrize("name", faults.FAULTS)
def test_the_first_remedy_restores_learning(name: str, library: str) -> None:
    """To within five points of the same network without the fault, which without a remedy stays
    behind in all; a healthy network has no finding."""
    found = faults.row(name, library)
    if name == faults.HEALTHY:
        assert (found.found, found.remedy) == ("", "")
        return
    kinds, remedy = NAMED[name]
    assert found.found in kinds
    assert found.remedy == remedy
    assert found.restored
    assert found.accuracy < found.mended
