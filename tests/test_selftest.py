"""The self-test: every kernel passes it, and none that is wrong does."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from saltation import cli, encoding, selftest
from saltation.kernels import dispatch, dispatch_chain, dispatch_learning
from saltation.kernels.dispatch import KERNELS
from saltation.selftest import Row, checks, crew, kernels, perform, verdict
from saltation.surrogate import SURROGATES

CHECKS = dict(checks())


class Scaled(torch.autograd.Function):
    """The same numbers, and gradients that are a tenth of a percent too large."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 1.001 * gradient


def scaled(x: Any) -> Any:
    return Scaled.apply(x)


def flipped(spikes: Tensor) -> Tensor:
    """One spike in the middle more, or one less."""
    change = torch.zeros_like(spikes)
    change.view(-1)[spikes.numel() // 2] = 1 - 2 * spikes.detach().reshape(-1)[spikes.numel() // 2]
    return spikes + change


def nudged(x: Tensor) -> Tensor:
    """The last number one rounding away."""
    away = x.detach().clone()
    away.view(-1)[-1] = torch.nextafter(away.view(-1)[-1], torch.tensor(math.inf))
    return x + (away - x.detach())


@pytest.mark.parametrize("name", CHECKS)
def test_every_kernel_passes(name: str, full: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the kernels that are here, which are the reference only where a model has no other.

    In the usual run with two surrogates in each check, and with the next two in the next.
    """
    if not full:
        place = 2 * list(CHECKS).index(name)
        two = itertools.islice(itertools.cycle(SURROGATES), place, place + 2)
        monkeypatch.setattr(kernels, "SURROGATES", {n: SURROGATES[n] for n in two})
    row = perform(name, CHECKS[name])
    assert row.ok, row
    assert row.ran
    assert "reference" not in row.ran
    assert row.reason == ""
    assert row.error < selftest.TOLERANCE


def test_every_model_scheme_and_kernel_is_there() -> None:
    assert {"LIF trapezoid", "LIF beta", "Izhikevich exponential", "poisson"} < set(CHECKS)
    assert {"SpikeLinear", "SpikeConv2d"} < set(CHECKS)
    assert {"LIF MLP rk4", "Izhikevich Recurrent", "R-STDP"} < set(CHECKS)
    assert {"CUBA-LIF euler", "CUBA-LIF Recurrent", "CUBA-LIF MLP readouts"} < set(CHECKS)


@pytest.fixture
def wrong_loop(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replaces the compiled loop by one whose currents and result are changed."""
    right = KERNELS["cpu"]

    def install(
        result: Callable[[Any], Any] = lambda trace: trace,
        currents: Callable[[Tensor], Tensor] = lambda x: x,
    ) -> None:
        def run(neuron: Any, spike: Any, x: Tensor, *rest: Any) -> Any:
            return result(right.run(neuron, spike, currents(x), *rest))

        monkeypatch.setitem(KERNELS, "cpu", replace(right, run=run))

    return install


@pytest.mark.parametrize("name", ["LIF euler", "Izhikevich rk2"])
def test_a_flipped_spike_is_found(name: str, wrong_loop: Callable[..., None]) -> None:
    wrong_loop(lambda trace: trace._replace(spikes=flipped(trace.spikes)))
    row = perform(name, CHECKS[name])
    assert not row.ok
    assert row.differ == row.cases
    assert row.error <= selftest.TOLERANCE


@pytest.mark.parametrize("name", ["LIF euler", "Izhikevich rk2"])
def test_a_state_one_rounding_away_is_found(name: str, wrong_loop: Callable[..., None]) -> None:
    wrong_loop(lambda trace: trace._replace(state=type(trace.state)(*map(nudged, trace.state))))
    row = perform(name, CHECKS[name])
    assert not row.ok
    assert row.differ >= row.cases


@pytest.mark.parametrize("name", ["LIF euler", "Izhikevich rk2"])
def test_a_gradient_off_by_a_thousandth_is_found(
    name: str, wrong_loop: Callable[..., None]
) -> None:
    wrong_loop(currents=scaled)
    row = perform(name, CHECKS[name])
    assert not row.ok
    assert row.differ == 0
    assert row.error == pytest.approx(1e-3, rel=0.02)


def test_a_gradient_of_nan_is_found(wrong_loop: Callable[..., None]) -> None:
    wrong_loop(lambda trace: trace._replace(spikes=trace.spikes + 0 * trace.spikes.sqrt()))
    row = perform("LIF euler", CHECKS["LIF euler"])
    assert not row.ok
    assert row.error == math.inf


def test_wrong_input_spikes_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = encoding.bernoulli_trains

    def wrong(*arguments: Any, **options: Any) -> Tensor:
        spikes = right(*arguments, **options)
        return flipped(spikes) if spikes.dtype == torch.float32 else spikes

    monkeypatch.setattr(encoding, "bernoulli_trains", wrong)
    row = perform("poisson", CHECKS["poisson"])
    assert not row.ok
    assert row.differ == row.cases


@pytest.mark.parametrize("function", ["fixed", "compete"])
def test_a_flipped_spike_of_a_layer_without_gradients_is_found(
    function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = getattr(dispatch_learning, function)

    def wrong(x: Tensor, *rest: Any) -> Any:
        found = right(x, *rest)
        plain = type(x) is Tensor
        return found if plain else found._replace(spikes=flipped(found.spikes.clone()))

    monkeypatch.setattr(dispatch_learning, function, wrong)
    assert perform("R-STDP", CHECKS["R-STDP"]).differ


def test_a_wrong_change_by_spike_pairs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = dispatch_learning.stdp
    monkeypatch.setattr(dispatch_learning, "stdp", lambda *given: 1.001 * right(*given))
    row = perform("R-STDP", CHECKS["R-STDP"])
    assert row.differ == 0
    assert row.error == pytest.approx(1e-3, rel=0.02)


@pytest.mark.parametrize("change", [scaled, nudged])
@pytest.mark.parametrize(
    ("name", "module", "function"),
    [
        ("SpikeLinear", dispatch, "linear"),
        ("SpikeConv2d", dispatch, "conv2d"),
        ("LIF MLP readouts", dispatch_chain, "chain"),
    ],
)
def test_wrong_products_are_found(
    name: str,
    module: ModuleType,
    function: str,
    change: Callable[[Tensor], Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = getattr(module, function)

    def wrong(*arguments: Any) -> Tensor | None:
        out = right(*arguments)
        return out if out is None or out.dtype != torch.float32 else change(out)

    monkeypatch.setattr(module, function, wrong)
    row = perform(name, CHECKS[name])
    assert not row.ok
    if change is scaled:
        assert row.differ == 0
        assert row.error == pytest.approx(1e-3, rel=0.02)
    else:
        assert row.differ > 0


def test_wrong_feedback_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = dispatch.recurrent

    def wrong(backend: str, neuron: Any, spike: Any, x: Tensor, *rest: Any) -> Any:
        return right(backend, neuron, spike, x if backend == "reference" else scaled(x), *rest)

    monkeypatch.setattr(dispatch, "recurrent", wrong)
    row = perform("LIF Recurrent", CHECKS["LIF Recurrent"])
    assert not row.ok
    assert row.differ == 0
    assert row.error == pytest.approx(1e-3, rel=0.02)


def test_dependence_on_the_number_of_threads_is_found(wrong_loop: Callable[..., None]) -> None:
    wrong_loop(
        lambda trace: trace._replace(
            spikes=flipped(trace.spikes) if torch.get_num_threads() == 3 else trace.spikes
        )
    )
    row = perform("any number of threads", CHECKS["any number of threads"])
    assert not row.ok
    assert row.differ > 0


def test_a_fallback_gives_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference agrees with itself, and the row says that nothing else ran."""
    monkeypatch.setitem(
        KERNELS, "cpu", replace(KERNELS["cpu"], refuses=lambda *request: "it is a Sunday")
    )
    row = perform("LIF euler", CHECKS["LIF euler"])
    assert row.ok
    assert (row.ran, row.reason) == ("reference", "cpu: it is a Sunday")


def test_an_error_is_a_failure() -> None:
    def broken(row: Row) -> None:
        row.same([torch.ones(1)], [torch.ones(1)])
        raise OSError("out of order")

    row = perform("broken", broken)
    assert not row.ok
    assert row.problem == "OSError: out of order"
    last = verdict([row, Row("other", cases=1)], 7.2).splitlines()
    assert last[0] == "broken: OSError: out of order"
    assert last[1] == "FAIL: 1 of 2 checks: broken (2 cases in 7 s)"


def test_nothing_compared_is_a_failure() -> None:
    assert not Row("nothing").ok


def test_a_check_leaves_no_trace() -> None:
    """Neither in torch's random numbers nor in its number of threads."""
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    perform("any number of threads", CHECKS["any number of threads"])
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def _performed(name: str) -> Row:
    if name == "dies":
        os._exit(3)
    return Row(name, cases=torch.get_num_threads())


@pytest.mark.slow
def test_a_process_that_dies_is_the_problem_of_its_check_alone() -> None:
    begun: list[str] = []
    names = ["one", "dies", "two", "three"]
    rows = {row.name: row for row in crew.rows(names, _performed, 2, begun.append)}
    assert begun == names
    assert rows.pop("dies").problem == "its process ended (exit code 3)"
    assert set(rows) == {"one", "two", "three"}
    assert all(row.ok and row.cases == torch.get_num_threads() for row in rows.values())


@pytest.fixture
def two_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two quick ones in place of all."""
    few = [(name, CHECKS[name]) for name in ("LIF euler", "poisson")]
    monkeypatch.setattr(selftest, "checks", lambda: iter(few))


def test_the_command(two_checks: None, capsys: pytest.CaptureFixture[str]) -> None:
    """A table, a verdict in its last line, and on stderr what is at work."""
    cli.main(["selftest"])
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert any(
        "LIF euler" in line and "cpu neurons loop" in line and " ok" in line for line in lines
    )
    assert lines[-1].startswith("ok: every kernel agrees with the reference (100 cases")
    shown = [
        line for line in err.splitlines() if line
    ]  # some versions of rich end with an empty one
    assert [line.split(":")[0] for line in shown] == ["1/2 LIF euler", "2/2 poisson"]


def test_the_command_fails_on_a_difference(
    two_checks: None, wrong_loop: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    wrong_loop(currents=scaled)
    with pytest.raises(SystemExit) as stop:
        cli.main(["selftest"])
    out, _ = capsys.readouterr()
    assert stop.value.code == 1
    assert any(
        "LIF euler" in line and "1e-03" in line and "FAIL" in line for line in out.splitlines()
    )
    assert out.splitlines()[-1].startswith("FAIL: 1 of 2 checks: LIF euler (100 cases")
