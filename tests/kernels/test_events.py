"""A tensor of events is the dense tensor to everybody else."""

from __future__ import annotations

import copy
import ctypes
import io
import operator
import pickle
from typing import Any

import numpy as np
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


def _loop(x: Tensor) -> None:
    """Memory handed out long before it is written to."""
    views = list(x)
    x.sum()
    views[2][1, 3] = 7


def _unseen(write: Any) -> Any:
    """As code below torch's Python functions does."""

    def change(x: Tensor) -> None:
        with torch._C.DisableTorchFunctionSubclass():
            write(x)

    return change


WRITES: dict[str, Any] = {
    "data": lambda x: x.data.fill_(7),
    "data of a view": lambda x: x[1].data.fill_(7),
    "new data": lambda x: setattr(x, "data", torch.full((5, 3, 7), 7.0)),
    "numpy": lambda x: x.numpy().fill(7),
    "asarray": lambda x: np.asarray(x).fill(7),
    "numpy of a view": lambda x: x[1:].numpy().fill(7),
    "numpy of a detached": lambda x: x.detach().numpy().fill(7),
    "transposed numpy": lambda x: x.numpy().T.fill(7),
    "dlpack": lambda x: torch.from_dlpack(x).fill_(7),
    "numpy by dlpack": lambda x: torch.from_dlpack(np.from_dlpack(x.view(-1))).fill_(7),
    "storage": lambda x: x.untyped_storage().fill_(7),
    "pointer": lambda x: ctypes.c_float.from_address(x.data_ptr()).__setattr__("value", 7.0),
    "detach": lambda x: x.detach().add_(7),
    "as_subclass": lambda x: x.as_subclass(Tensor).data.fill_(7),
    "alias": lambda x: torch.ops.aten.alias(x).data.fill_(7),
    "view": lambda x: x.view(-1)[3:9].fill_(7),
    "diagonal": lambda x: x.diagonal().data.fill_(7),
    "split": lambda x: x.split(2)[0].data.fill_(7),
    "chunk": lambda x: torch.chunk(x, 2, 2)[1].data.fill_(7),
    "loop": _loop,
    "add_": lambda x: x.add_(7),
    "operator": lambda x: operator.iadd(x, 7),
    "setitem": lambda x: operator.setitem(x, (slice(None), 1), 7.0),
    "out": lambda x: torch.add(torch.ones(5, 3, 7), 7, out=x),
    "copy_": lambda x: x.copy_(torch.full((5, 3, 7), 7.0)),
    "index_put_": lambda x: x.index_put_((torch.tensor([1]),), torch.tensor(7.0)),
    "scatter_": lambda x: x.scatter_(0, torch.zeros(1, 3, 7, dtype=torch.long), 7.0),
    "masked_fill_": lambda x: x.masked_fill_(x == 0, 7.0),
    "foreach": lambda x: torch._foreach_add_([x], 7.0),
    "set_": lambda x: x.set_(torch.full((5, 3, 7), 7.0)),
    "exponential_": lambda x: x.exponential_(),
    "inference mode": torch.inference_mode()(lambda x: x.mul_(7)),
    "dispatched": lambda x: torch.ops.aten.mul_(x, 7),
    "unseen add_": _unseen(lambda x: x.add_(7)),
    "unseen data": _unseen(lambda x: x.data.fill_(7)),
    "unseen view": _unseen(lambda x: x.view(-1).data.fill_(7)),
}
# Routes that the lowest versions refuse to go.
if np.lib.NumpyVersion(np.__version__) < "2.0.0":
    del WRITES["numpy by dlpack"]
if torch.__version__.startswith("2.6."):
    del WRITES["as_subclass"]


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("looked_at", [False, True])
def test_writes_by_any_route_are_seen(name: str, looked_at: bool) -> None:
    """Layers, chains and sums see what the tensor holds, by whichever way it got there."""
    torch.manual_seed(0)
    # Few enough for products that follow them.
    x = st.poisson(0.1 * torch.rand(3, 7), 5)
    was, layer = x.clone(), st.SpikeLinear(7, 64)
    net = st.spiking_mlp((7, 64, 3), v_threshold=0.1)
    assert 0 < was.mean() < 0.15
    if not looked_at:
        x = st.poisson(0.1 * torch.rand(3, 7, generator=torch.Generator().manual_seed(0)), 5)
    before = layer(x).detach()
    WRITES[name](x)
    now = x + 0
    assert not torch.equal(now, was)
    torch.testing.assert_close(layer(x), torch.nn.functional.linear(now, layer.weight, layer.bias))
    assert not torch.equal(layer(x), before)
    torch.testing.assert_close(net(x), net(now))
    assert torch.equal(x.sum(0), now.sum(0))


READS: dict[str, Any] = {
    "mean": lambda x: x.mean(),
    "max": lambda x: x.max(0),
    "product": lambda x: x @ torch.ones(7, 2),
    "compare": lambda x: (x > 0).any().item(),
    "clone": lambda x: x.clone(),
    "double": lambda x: x.double(),
    "index by numbers": lambda x: x[torch.tensor([1, 2])],
    "print": repr,
    "size": lambda x: (x.shape, x.stride(), x.is_contiguous()),
}


@pytest.mark.parametrize("name", READS)
def test_reading_keeps_the_events(name: str) -> None:
    """What only gives numbers costs a layer nothing."""
    x = spikes()
    READS[name](x)
    assert events_of(x) is not None


def test_what_was_handed_out_is_looked_at_again() -> None:
    """Spikes of which somebody holds a view are found in the dense tensor, with its gradient."""
    x, layer = st.poisson(torch.rand(40, 300) * 0.1, 20), st.SpikeLinear(300, 64)
    expected = layer(x).detach()
    x[3]
    assert events_of(x) is None
    torch.testing.assert_close(layer(x), expected)
    x.requires_grad_()
    layer(x).sum().backward()
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand(20, 40, 300))
