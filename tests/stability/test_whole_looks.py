"""What lies around the layers: the input, weights that are alike, time constants, the readout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saltation as st
from tests.stability.digits import IMAGES, LABELS, chain, scaled, sequence
from tests.stability.digits import changed as with_weights

BATCH = torch.arange(1300, 1332)


def found(network: nn.Module, x: Tensor, **options: Any) -> dict[str, Any]:
    """Findings by kind, without a trial."""
    given = {"trial": 0, **options}
    return {one.kind: one for one in st.diagnose(network, x, LABELS[BATCH], **given).findings}


def network(**neurons: Any) -> nn.Sequential:
    torch.manual_seed(0)
    made = chain(2, 48, **{"beta": 0.8, "surrogate": st.surrogate.Sigmoid(2.0), **neurons})
    return with_weights(made, scaled(3, 3))


def changed(change: Callable[[nn.Sequential], Any]) -> nn.Sequential:
    return with_weights(network(), change)


AROUND = {"no input", "input size", "same weights", "time constant", "readout size", "same output"}


def test_nothing_is_found_around_a_healthy_network() -> None:
    assert not AROUND & set(found(network(), sequence(BATCH)))
    assert not AROUND & set(found(network(), sequence(BATCH, drawn=True)))


def test_an_input_without_spikes() -> None:
    """Zero everywhere, or a spike now and then."""
    x = torch.zeros(8, 32, 64)
    assert "the input is zero everywhere" in found(network(), x)["no input"].what
    x[3, 5, 7] = 1
    assert "hardly a spike: 6.1e-05 per value" in found(network(), x)["no input"].what


@pytest.mark.parametrize("scale", [255.0, 1e-3])
def test_an_input_of_another_unit(scale: float) -> None:
    """Bytes, or what was divided twice; not where a normalisation makes good for it."""
    net = changed(lambda net: net[0].bias.zero_())
    one = found(net, scale * sequence(BATCH))["input size"]
    assert one.layer == "1"
    assert f"up to {scale:.3g}" in one.what
    assert one.remedies == ["input_scale"]
    torch.manual_seed(0)
    normalised = chain(2, 48, norm=True, beta=0.8)
    assert "input size" not in found(normalised, scale * sequence(BATCH))


def test_neurons_with_the_same_weights() -> None:
    """Of a hidden layer; a readout of zeros is a start like any other."""
    alike = changed(lambda net: net[2].weight.fill_(0.05))
    one = found(alike, sequence(BATCH))["same weights"]
    assert (one.layer, one.remedies[0]) == ("2", "fresh_weights")
    zero = changed(lambda net: net[4].weight.zero_())
    assert "same weights" not in found(zero, sequence(BATCH))


def test_a_layer_of_zeros_is_drawn_anew_first() -> None:
    """Nothing that is scaled wakes what is driven by nothing."""
    zero = changed(lambda net: (net[2].weight.zero_(), net[2].bias.zero_()))
    one = found(zero, sequence(BATCH))["silent"]
    assert one.remedies[:2] == ["fresh_weights", "homeostasis"]
    assert "so that what reads it is fed by nothing" in one.what
    changes = st.REMEDIES["fresh_weights"]().apply(zero, sequence(BATCH))
    assert list(changes.changed) == ["2"]
    assert changes.after["3"] > 0.01 > changes.before["3"]


def late(steps: int) -> Tensor:
    """An image that is shown at once and then no more."""
    x = torch.zeros(steps, 32, 64)
    x[: steps // 2] = IMAGES[BATCH]
    return x


@pytest.mark.parametrize(
    ("neurons", "words"),
    [
        ({"tau": 0.01, "dt": 1.0, "beta": None}, "is 0.01 steps, and the input has 8: neurons for"),
        (
            {"tau": 5000.0, "dt": 1.0, "beta": None},
            "is 5e+03 steps, and the input has 8: neurons l",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::saltation.errors.UnitWarning")
def test_a_time_constant_of_another_unit(neurons: dict[str, Any], words: str) -> None:
    """A thousandth or a thousandfold is what was meant; a network that has no leak has none."""
    net = network(**neurons)
    one = found(net, late(8))["time constant"]
    assert words in one.what
    done = st.REMEDIES[one.remedies[0]]().apply(net, late(8))
    assert list(done.after.values()) == pytest.approx([10.0 if neurons["tau"] < 1 else 5.0] * 2)
    assert "time constant" not in found(net, late(8))
    assert "time constant" not in found(network(beta=1.0), late(8))


def test_a_readout_that_is_certain() -> None:
    """Of what is not so; the remedy brings its logits to a spread of 1."""
    net = changed(lambda net: net[4].weight.mul_(1e3))
    one = found(net, sequence(BATCH))["readout size"]
    assert one.layer == "4"
    assert "the readout is saturated" in one.what
    done = st.REMEDIES[one.remedies[0]]().apply(net, sequence(BATCH))
    assert done.after["4"] == pytest.approx(1.0, rel=1e-4)
    assert "readout size" not in found(net, sequence(BATCH))


def test_an_output_that_does_not_see_the_input() -> None:
    """All layers fire, and the readout is given a constant."""

    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ones_like(x)

    net = network()
    net.insert(4, Constant())
    assert "the same for every sample" in found(net, sequence(BATCH))["same output"].what


def test_a_scaled_input_is_part_of_what_is_saved() -> None:
    """Weights with the factor are refused by a network without, and the hook goes with a copy."""
    net = network()
    x = 255 * sequence(BATCH)
    st.REMEDIES["input_scale"]().apply(net, x)
    twin = network()
    with pytest.raises(RuntimeError, match="input_scale"):
        twin.load_state_dict(net.state_dict())
    plain = network()
    torch.testing.assert_close(net(x), plain(sequence(BATCH)), rtol=1e-4, atol=1e-5)
    with pytest.raises(st.SaltationError, match="is scaled as it is"):
        st.REMEDIES["input_scale"]().apply(net, x)


class Sinks(nn.Module):
    """Linear map whose current falls far below rest after the second step."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 48)

    def forward(self, x: Tensor) -> Tensor:
        current: Tensor = self.linear(x) + 1.0
        fall = torch.full((len(x), 1, 1), -9.0)
        fall[:2] = 0
        return current + fall


def test_silence_in_time() -> None:
    """Spikes that end though the input goes on; not where the input ends."""
    torch.manual_seed(0)
    net = nn.Sequential(Sinks(), st.LIF(beta=0.8), nn.Linear(48, 10))
    one = found(net, sequence(BATCH))["silent in time"]
    assert one.layer == "1"
    assert "at step 2 of 8, and none later" in one.what
    assert "silent in time" not in found(network(), late(8))


def test_a_learning_rate_that_is_too_large() -> None:
    """Is told with one step's loss and a rate that does; one that is right is not."""
    options: dict[str, Any] = {"trial": 5}
    one = found(network(), sequence(BATCH), lr=30.0, **options)["learning rate"]
    assert "a learning rate of 30 is too large for the gradient: one step of Adam" in one.what
    assert one.advice.startswith("a learning rate of 0.0")
    assert "learning rate" not in found(network(), sequence(BATCH), lr=2e-3, **options)
    with pytest.raises(st.SaltationError, match="lr must be a finite number above 0, got 0"):
        found(network(), sequence(BATCH), lr=0.0)


def test_a_loss_that_stays_at_chance() -> None:
    """Where nothing else is found: here every sample is the same, and so are the classes."""
    x = sequence(torch.full((32,), 1300))
    torch.manual_seed(0)
    labels = torch.arange(30).remainder(10)
    diagnosis = st.diagnose(changed(lambda net: net[4].weight.mul_(0.1)), x[:, :30], labels)
    assert [one.kind for one in diagnosis.findings] in (["same output"], ["does not learn"])


def test_a_wider_surrogate_that_learns_clearly_better() -> None:
    """The depth study's network of depth 4, whose weights learn as they are: a fault all the same;
    with a surrogate as wide as potentials spread it is none."""
    images = IMAGES[BATCH].reshape(-1, 1, 8, 8)
    kinds = []
    for surrogate in (st.surrogate.FastSigmoid(25.0), st.surrogate.Sigmoid(2.0)):
        torch.manual_seed(0)
        net = st.spiking_vgg(
            1, 10, 8, stages=2, base_channels=8, surrogate=surrogate, batch_norm="all"
        )
        diagnosis = st.diagnose(net, images, LABELS[BATCH])
        kinds.append({one.kind: one for one in diagnosis.findings})
    narrow, wide = kinds
    steep = {"steep surrogate", "vanishing gradient", "exploding gradient"}
    assert any("with surrogate_width a trial comes to" in one.what for one in narrow.values())
    assert steep & set(narrow)
    assert not steep & set(wide)
