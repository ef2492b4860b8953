"""SEW-ResNet: counts, agreement with SpikingJelly, what joins branches, what it refuses."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saltation as st
from saltation.models.sew_resnet import CONNECTIONS, SEWResNet
from tests.models.peer import images, imported, spread, take, weighted

# Of ResNets with 1000 classes (He et al., 2016), which those with spikes have, too.
PARAMETERS = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """SpikingJelly's module, which imports a function of torchvision that is not called here."""
    for name in ("torchvision", "torchvision.models", "torchvision.models.utils"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr(
        sys.modules["torchvision.models.utils"], "load_state_dict_from_url", None, raising=False
    )
    return imported("model.sew_resnet")


def small(**options: Any) -> SEWResNet:
    """Two stages of one basic block, 4 and 8 channels."""
    torch.manual_seed(0)
    return st.sew_resnet("basic", (1, 1), **{"in_channels": 2, "classes": 5, "width": 4, **options})


@pytest.mark.parametrize("depth", PARAMETERS)
def test_parameters_are_those_of_the_papers_and_of_spikingjelly(theirs: Any, depth: int) -> None:
    """In number, and shape by shape."""
    name = f"sew_resnet{depth}"
    node = imported("neuron").IFNode
    with torch.device("meta"):
        made = getattr(st, name)()
        other = getattr(theirs, name)(cnf="ADD", spiking_neuron=node)
    assert sum(p.numel() for p in made.parameters()) == PARAMETERS[depth]
    assert [p.shape for p in made.parameters()] == [p.shape for p in other.parameters()]
    convolutions = [m for m in made.modules() if isinstance(m, nn.Conv2d)]
    shortcuts = 3 + (depth >= 50)
    assert len(convolutions) - shortcuts + 1 == depth


def test_defaults_are_those_of_the_authors() -> None:
    """Integrate-and-fire with detached hard reset, ATan, T = 4, statistics of all steps."""
    made = small()
    layers = [m for m in made.modules() if isinstance(m, st.LIF)]
    assert len(layers) == 6
    for layer in layers:
        step = layer.neuron.affine_step
        assert (step.m, step.n) == (((1.0,),), (1.0,))
        assert (layer.neuron.jump, layer.neuron.detach_reset) == ("hard", True)
        assert layer.surrogate == st.surrogate.ATan(2.0)
    assert made.steps == 4
    assert {m.statistics for m in made.modules() if isinstance(m, nn.BatchNorm2d)} == {"all"}


@pytest.mark.parametrize(
    ("block", "connect"),
    # SpikingJelly's bottleneck swaps the branches of IAND: a (1 - s), not the paper's (1 - a) s.
    [
        *[("basic", connect) for connect in CONNECTIONS],
        *[("bottleneck", connect) for connect in ("add", "and")],
    ],
)
def test_agrees_with_spikingjelly(theirs: Any, block: str, connect: str) -> None:
    """Logits in training and in evaluation, and gradients, in float64, from the same weights."""
    neuron, surrogate = imported("neuron"), imported("surrogate")
    torch.manual_seed(0)
    counts = (2, 1, 1, 1)
    made = st.sew_resnet(block, counts, 3, 5, connect=connect, stem="imagenet").double()
    spread(made)
    other = theirs.SEWResNet(
        {"basic": theirs.BasicBlock, "bottleneck": theirs.Bottleneck}[block],
        counts,
        num_classes=5,
        cnf=connect.upper(),
        spiking_neuron=neuron.IFNode,
        surrogate_function=surrogate.ATan(alpha=2.0),
        detach_reset=True,
    ).double()
    imported("functional").set_step_mode(other, "m")
    take(other, list(weighted(made)))
    x = images(4, 2, 3, 32, 32).double()
    for training in (True, False):
        one, two = made.train(training)(x), other.train(training)(x).mean(0)
        imported("functional").reset_net(other)
        assert one.std() > 1e-2
        torch.testing.assert_close(one, two, rtol=0, atol=1e-10)
    for first, second in zip(
        torch.autograd.grad(one.square().sum(), list(made.parameters())),
        torch.autograd.grad(two.square().sum(), list(other.parameters())),
        strict=True,
    ):
        largest = first.abs().max().item()
        torch.testing.assert_close(first, second, rtol=0, atol=1e-9 * largest + 1e-12)


@pytest.mark.parametrize(
    ("connect", "truth"),
    [("add", [0, 1, 1, 2]), ("and", [0, 0, 0, 1]), ("iand", [0, 1, 0, 0])],
)
def test_connections(connect: str, truth: list[int]) -> None:
    """By the paper's table; for (a, s) = 00, 01, 10, 11, a being the residual branch."""
    a, s = Tensor([0, 0, 1, 1]), Tensor([0, 1, 0, 1])
    assert CONNECTIONS[connect](a, s).tolist() == truth
    block = small(connect=connect).stages[0][0]
    block.branch = nn.Module()
    block.branch.forward = lambda _: a
    assert block(s).tolist() == truth


def test_silent_branches_make_the_identity() -> None:
    """With ADD and IAND, of a block that keeps the shape: what residual networks begin from."""
    for connect in ("add", "iand"):
        block = small(connect=connect).stages[0][0]
        nn.init.zeros_(block.branch[-1].norm.weight)
        spikes = (images(3, 2, 4, 6, 6) > 1).float()
        assert torch.equal(block(spikes), spikes)


@pytest.mark.parametrize(("stem", "sides"), [("cifar", [32, 16]), ("imagenet", [8, 4])])
def test_stems(stem: str, sides: list[int]) -> None:
    """That of CIFAR keeps the size, that of ImageNet takes a quarter; stages halve it."""
    made, seen = small(stem=stem), []
    for stage in made.stages:
        stage.register_forward_hook(lambda _, __, y: seen.append(y.shape[-1]))
    made(images(1, 2, 32, 32))
    assert seen == sides


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"connect": "nand"}, "unknown connect 'nand'; did you mean 'and'"),
        ({"stem": "imagnet"}, "unknown stem 'imagnet'; did you mean 'imagenet'"),
        ({"init": "scale"}, "unknown init 'scale'; did you mean 'scaled'"),
        ({"neuron": "lift"}, "unknown neuron 'lift'; did you mean 'lif'"),
        ({"batch_norm": "tbdn"}, "unknown batch_norm 'tbdn'; did you mean 'tdbn'"),
        ({"width": 0}, "width must be a positive integer, got 0"),
        ({"steps": 1.0}, "steps must be a positive integer, got 1.0"),
        ({"tao": 2.0}, "unknown LIF parameter 'tao'; did you mean 'tau'"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    """What is wrong, what was given, what is allowed."""
    with pytest.raises(st.SaltationError, match=message):
        small(**options)


def test_bad_blocks_are_refused() -> None:
    """Unknown ones, and stages without any."""
    with pytest.raises(st.SaltationError, match="unknown block 'bottlneck'; did you mean 'bottl"):
        st.sew_resnet("bottlneck", (1,), 1, 2)
    with pytest.raises(st.SaltationError, match="counts must be a positive integer, got 0"):
        st.sew_resnet("basic", (1, 0), 1, 2)
    with pytest.raises(st.SaltationError, match="number of blocks of one stage or more, got none"):
        st.sew_resnet("basic", (), 1, 2)
