"""State dicts that know what their weights compute: what is compared, how it travels, old files."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import saltation as st
from saltation.models import ARCHITECTURES

Make = Callable[..., nn.Module]


def mlp(**parameters: Any) -> nn.Module:
    """A small network with every number given."""
    return st.spiking_mlp((6, 5, 3), **{"dt": 0.5, **parameters})


def vgg(**parameters: Any) -> nn.Module:
    return st.spiking_vgg(1, 3, 8, stages=1, base_channels=4, **parameters)


def sew(**parameters: Any) -> nn.Module:
    return st.sew_resnet("basic", (1,), 1, 3, width=4, **parameters)


def spikformer(**parameters: Any) -> nn.Module:
    return st.spikformer(1, 3, 8, **{"patch": 2, "depth": 1, "width": 16, "heads": 2, **parameters})


def image_mlp(**parameters: Any) -> nn.Module:
    build = ARCHITECTURES["mlp"].build
    return build((1, 4, 4), 3, 1, base_channels=4, **parameters)


def compete(**parameters: Any) -> nn.Module:
    return st.WinnerTakeAllNetwork(6, 5, 3, **parameters)


def recurrent(**parameters: Any) -> nn.Module:
    return nn.Sequential(st.Recurrent(st.LIF(**parameters), 3))


# Of a network: what else it may be that computes something else, and how the difference is said.
OTHERS: list[tuple[Make, dict[str, Any], str]] = [
    (mlp, {"dt": 0.25}, "'1' are of a network with dt=0.5, this one has dt=0.25;"),
    (mlp, {"tau": 3}, r"tau=2\.0, this one has tau=3\.0;"),
    (mlp, {"scheme": "euler"}, "scheme='exponential', this one has scheme='euler';"),
    (mlp, {"jump": "soft"}, "jump='hard', this one has jump='soft';"),
    (mlp, {"v_threshold": 0.9}, r"v_threshold=1\.0, this one has v_threshold=0\.9;"),
    (mlp, {"v_rest": 0.1}, r"v_rest=0\.0, this one has v_rest=0\.1;"),
    (mlp, {"v_reset": -1}, r"v_reset=0\.0, this one has v_reset=-1\.0;"),
    (mlp, {"decay_input": False}, "decay_input=True, this one has decay_input=False;"),
    (mlp, {"dt": None, "beta": 0.9}, r"tau=2\.0, dt=0\.5, beta=None, this .*beta=0\.9;"),
    (mlp, {"neuron": "cuba_lif"}, "neuron='lif', this one has neuron='cuba_lif';"),
    (mlp, {"tau": 3, "scheme": "rk4"}, r"tau=2\.0, scheme='exp.*, this .* tau=3\.0, scheme='rk4';"),
    (mlp, {"readout": "mean"}, "'3' .* readout='max', this one has readout='mean';"),
    (vgg, {"steps": 8}, "'SpikingVGG' are of a network with steps=4, this one has steps=8;"),
    (vgg, {"beta": 0.5}, r"'stages\.0\.0\.neurons' .* beta=0\.9, this one has .*beta=0\.5;"),
    (sew, {"connect": "iand"}, r"'stages\.0\.0' .* connect='add', this one has connect='iand';"),
    (spikformer, {"heads": 4}, r"'encoders\.0\.attention' .* heads=2, this one has heads=4;"),
    (spikformer, {"attention_threshold": 1}, r"v_threshold=0\.5, this one has v_threshold=1\.0;"),
    (image_mlp, {"steps": 2}, "'0' are of a network with steps=4, this one has steps=2;"),
    (compete, {"dt": 0.05}, "'neurons' .* dt=0.5, this one has dt=0.05;"),
    (compete, {"output_gain": 2}, r"output_gain=5\.0, this one has output_gain=2\.0;"),
    (recurrent, {"dt": 0.5}, r"'0\.layer' .* dt=1\.0, this one has dt=0\.5;"),
]


@pytest.mark.parametrize(("make", "parameters", "text"), OTHERS)
def test_weights_of_another_network_are_refused(
    make: Make, parameters: dict[str, Any], text: str
) -> None:
    """By name, with both values, in one line; a loose load is loose about names alone."""
    state = make().state_dict()
    other = make(**parameters)
    make().load_state_dict(state)
    for strict in (True, False):
        with pytest.raises(st.OtherNumericsError, match=text) as error:
            other.load_state_dict(state, strict=strict)
        assert "\n" not in str(error.value)
        assert str(error.value).endswith("with saltation.allow_other_numerics()")
    with st.allow_other_numerics():
        other.load_state_dict(state)
    for name, parameter in other.named_parameters():
        assert torch.equal(parameter, state[name])
    with pytest.raises(st.OtherNumericsError):
        other.load_state_dict(state)


@pytest.mark.parametrize(
    "parameters",
    [
        *({"surrogate": "atan"}, {"detach_reset": True}),
        *({"backend": "reference"}, {"memory": "recompute"}),
    ],
)
def test_what_does_not_change_the_output_is_not_compared(parameters: dict[str, Any]) -> None:
    """Surrogate and detached resets are of gradients, backend and memory of speed."""
    mlp(**parameters).load_state_dict(mlp().state_dict())


def saved_and_loaded(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)  # type: ignore[no-any-return]


# What is done to state dicts on their way.
WAYS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "file": saved_and_loaded,
    "clone": lambda state: {k: v.clone().cpu() for k, v in state.items()},
    "deepcopy": copy.deepcopy,
    "half": lambda state: {k: v.half() for k, v in state.items()},
    "bfloat16": lambda state: {k: v.bfloat16() for k, v in state.items()},
    "double": lambda state: {k: v.double() for k, v in state.items()},
    "mean": lambda state: {k: torch.stack([v.float()] * 3).mean(0) for k, v in state.items()},
    "numpy": lambda state: {k: v.numpy() for k, v in state.items()},
}


@pytest.mark.parametrize("way", WAYS)
def test_numerics_travel_with_the_weights(way: str) -> None:
    """Through files without code, copies, other dtypes and averages."""
    state = WAYS[way](mlp().state_dict())
    weights = {k: torch.as_tensor(v) for k, v in state.items() if "weight" in k}
    numerics = {k: v for k, v in state.items() if "weight" not in k}
    mlp().load_state_dict({**weights, **numerics})
    with pytest.raises(st.OtherNumericsError, match=r"dt=0\.5, this one has dt=0\.25"):
        mlp(dt=0.25).load_state_dict({**weights, **numerics})


def test_numerics_that_cannot_be_read() -> None:
    """Sums, foreign objects and text are named as such."""
    for spoilt in (torch.tensor([300, -5]), torch.tensor([91, 93]), torch.empty(0), "dt", object()):
        state = {**mlp().state_dict(), "1._extra_state": spoilt}
        with pytest.raises(st.OtherNumericsError, match=r"numerics of '1' .* cannot be read"):
            mlp().load_state_dict(state)
        with st.allow_other_numerics():
            mlp().load_state_dict(state)


def test_state_dicts_without_numerics_load_with_a_warning() -> None:
    """Those of earlier versions, or of torch's own layers; missing weights are missed as ever."""
    state = {k: v for k, v in mlp().state_dict().items() if "weight" in k}
    made = mlp(dt=0.25)
    with pytest.warns(st.UnknownNumericsWarning, match="does not say by which dt, scheme"):
        made.load_state_dict(state)
    assert torch.equal(made.state_dict()["0.weight"], state["0.weight"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mlp().load_state_dict(mlp().state_dict())
        with st.allow_other_numerics():
            made.load_state_dict(state)
    del state["0.weight"]
    with pytest.warns(st.UnknownNumericsWarning), pytest.raises(RuntimeError, match=r'"0\.weight"'):
        made.load_state_dict(state)


def test_a_number_that_is_new_was_at_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that knows fewer parameters loads; one that knows more is of another network."""
    known = mlp().state_dict()
    numerics = st.LIF.numerics

    def more(layer: st.LIF) -> dict[str, Any]:
        return {**numerics(layer), "ageing": 0.0}

    monkeypatch.setattr(st.LIF, "numerics", more)
    mlp().load_state_dict(known)
    newer = mlp().state_dict()
    monkeypatch.undo()
    with pytest.raises(st.OtherNumericsError, match=r"ageing=0\.0, this one has no ageing"):
        mlp().load_state_dict(newer)


def test_numbers_differ_by_more_than_the_rounding_of_float32() -> None:
    """A dt that was once a float32 is the same dt."""
    mlp(dt=0.1).load_state_dict(mlp(dt=np.float32(0.1)).state_dict())
    with pytest.raises(st.OtherNumericsError, match=r"dt=0\.100001, this one has dt=0\.1;"):
        mlp(dt=0.1).load_state_dict(mlp(dt=0.100001).state_dict())


def test_a_changed_neuron_is_what_counts() -> None:
    """The state dict speaks of the neuron that is there, not of the one that was."""
    made: Any = mlp()
    made[1].neuron = st.LIF(dt=0.25).neuron
    mlp(dt=0.25).load_state_dict(made.state_dict())


def test_torchs_tools_go_on_working() -> None:
    """Functional calls with a state dict, ensembles, averaged models, parametrisations, meta."""
    made = mlp()
    x = torch.rand(4, 2, 6)
    assert torch.equal(torch.func.functional_call(made, dict(made.state_dict()), (x,)), made(x))
    parameters, buffers = torch.func.stack_module_state([mlp(), mlp()])
    assert (set(parameters), set(buffers)) == ({"0.weight", "2.weight"}, set())
    averaged = torch.optim.swa_utils.AveragedModel(made)
    averaged.update_parameters(mlp())
    averaged.load_state_dict(averaged.state_dict())
    nn.utils.parametrizations.weight_norm(made[0])  # type: ignore[index]
    copy.deepcopy(made).load_state_dict(made.state_dict())
    with torch.device("meta"):
        empty = mlp()
    assert empty.state_dict()["1._extra_state"].device.type == "cpu"
    empty.load_state_dict(mlp().state_dict(), assign=True)
    assert not any(p.is_meta for p in empty.parameters())
