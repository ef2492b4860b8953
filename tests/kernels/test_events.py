"""A tensor of events is the dense tensor to everybody else."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

import saltation as st
from saltation.kernels.events import SpikeTensor, events_of


def spikes() -> Tensor:
    """Events that nobody has looked at densely."""
    x = torch.rand(3, 7, generator=torch.Generator().manual_seed(0))
    return st.poisson(x, 5, 1.0)


def dense() -> Tensor:
    """The same as an ordinary tensor, from the reference sampler."""
    x = torch.rand(3, 7, generator=torch.Generator().manual_seed(0))
    return st.poisson(x.double(), 5, 1.0).float()


def test_poisson_gives_events() -> None:
    """On a CPU in float32, for images that are rows of pixels."""
    assert type(spikes()) is SpikeTensor
    assert type(st.poisson(torch.rand(2, 3).double(), 4)) is Tensor
    assert type(st.poisson(torch.rand(2, 1, 3, 3), 4)) is Tensor


def test_its_shape_needs_no_data() -> None:
    """Questions about the shape do not make the dense tensor; any other does, once."""
    x = spikes()
    assert (x.shape, x.dtype, x.ndim, x.size(0), len(x), x.numel()) == (
        (5, 3, 7),
        torch.float32,
        3,
        5,
        5,
        105,
    )
    assert x.device.type == "cpu"
    assert not x.requires_grad
    assert x.__dict__["_dense"] is None
    assert x.data_ptr() == x.data_ptr()


OPERATIONS: dict[str, Any] = {
    "sum": lambda x: x.sum(),
    "index": lambda x: x[2:, 1],
    "unbind": lambda x: x.unbind(0)[3],
    "numpy": lambda x: torch.from_numpy(x.numpy().copy()),
    "tolist": lambda x: torch.tensor(x.tolist()),
    "linear": lambda x: torch.nn.functional.linear(x, torch.ones(2, 7)),
    "double": lambda x: x.double(),
    "stack": lambda x: torch.stack([x, x]),
    "compare": lambda x: x > 0,
    "detach": lambda x: x.detach(),
    "iterate": lambda x: torch.stack(list(x)),
    "deepcopy": copy.deepcopy,
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "vmap": lambda x: torch.func.vmap(lambda row: 2 * row)(x),
    "jvp": lambda x: torch.func.jvp(torch.sin, (x,), (torch.ones(5, 3, 7),))[1],
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_everything_sees_the_dense_tensor(name: str) -> None:
    """The result is that of the ordinary tensor, and an ordinary tensor."""
    ours, expected = OPERATIONS[name](spikes()), OPERATIONS[name](dense())
    assert type(ours) is Tensor
    assert torch.equal(ours, expected)


def test_it_can_be_saved() -> None:
    """torch.save writes the dense tensor."""
    file = io.BytesIO()
    torch.save(spikes(), file)
    file.seek(0)
    assert torch.equal(torch.load(file), dense())


def test_it_prints_as_a_tensor() -> None:
    """With its numbers."""
    assert repr(spikes()) == repr(dense())


def test_changes_are_seen() -> None:
    """Once it is changed it has no events any more, and layers use what it holds now."""
    x, layer = spikes(), st.SpikeLinear(7, 2)
    assert events_of(x) is not None
    x.mul_(2)
    assert events_of(x) is None
    torch.testing.assert_close(
        layer(x), torch.nn.functional.linear(2 * dense(), *layer.parameters())
    )
    y = spikes()
    y[0] = 0
    assert events_of(y) is None


def test_gradients_reach_it() -> None:
    """requires_grad_ works in place, as a statement."""
    x, layer = spikes(), st.SpikeLinear(7, 2)
    x.requires_grad_()
    layer(x).sum().backward()
    assert torch.equal(x.grad, layer.weight.sum(0).expand(5, 3, 7))


def test_transforms_leave_nothing_behind() -> None:
    """What is dense within a transform is not what is dense after it."""
    x = spikes()
    torch.func.jvp(torch.sin, (x,), (torch.ones(5, 3, 7),))
    assert torch.equal(x, dense())
    with torch.inference_mode():
        y = spikes()
        y.sum()
    weight = torch.ones(7, requires_grad=True)
    (y * weight).sum().backward()
    assert torch.equal(weight.grad, dense().sum((0, 1)))


def test_own_functions_may_save_it() -> None:
    """A user's autograd function that keeps it for its backward."""

    class Scale(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x * w

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> tuple[None, Tensor]:
            return None, (g * ctx.saved_tensors[0]).sum()

    w = torch.ones((), requires_grad=True)
    Scale.apply(spikes(), w).sum().backward()  # type: ignore[no-untyped-call]
    assert w.grad == dense().sum()
