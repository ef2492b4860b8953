"""The layers of the models; made by ``python -m saltation.layers.stub``."""

from torch import Tensor

from saltation.errors import Number
from saltation.layers.learned import Learned
from saltation.layers.neuron import SpikingLayer
from saltation.surrogate import Smooth, Surrogate

class LIF(SpikingLayer):
    def __init__(
        self,
        tau: Number | Tensor | Learned | None = None,
        dt: Number | None = None,
        scheme: str | None = None,
        beta: Number | Tensor | Learned | None = None,
        decay_input: bool = True,
        v_threshold: Number | Tensor | Learned = 1.0,
        v_reset: Number | Tensor | Learned = 0.0,
        v_rest: Number | Tensor | Learned = 0.0,
        jump: str = "hard",
        detach_reset: bool = False,
        refractory: Number = 0.0,
        spike_time: str = "grid",
        input: str = "held",
        *,
        surrogate: str | Surrogate | Smooth = ...,
        backend: str = "auto",
        memory: str = "store",
    ) -> None: ...

class Izhikevich(SpikingLayer):
    def __init__(
        self,
        tau: Number | Tensor | Learned = 2.0,
        dt: Number = 1.0,
        scheme: str = "exponential",
        v_c: Number | Tensor | Learned = 0.8,
        a0: Number | Tensor | Learned = 1.0,
        v_rest: Number | Tensor | Learned = -0.1,
        tau_w: Number | Tensor | Learned = 2.0,
        a: Number | Tensor | Learned = 0.02,
        b: Number | Tensor | Learned = 0.2,
        v_threshold: Number | Tensor | Learned = 1.0,
        v_reset: Number | Tensor | Learned = 0.0,
        w_rest: Number | Tensor | Learned = 0.0,
        jump: str = "hard",
        detach_reset: bool = False,
        refractory: Number = 0.0,
        spike_time: str = "grid",
        input: str = "held",
        *,
        surrogate: str | Surrogate | Smooth = ...,
        backend: str = "auto",
        memory: str = "store",
    ) -> None: ...

class CubaLIF(SpikingLayer):
    def __init__(
        self,
        tau: Number | Tensor | Learned = 2.0,
        tau_syn: Number | Tensor | Learned = 1.0,
        dt: Number = 1.0,
        scheme: str = "exponential",
        v_threshold: Number | Tensor | Learned = 1.0,
        v_reset: Number | Tensor | Learned = 0.0,
        v_rest: Number | Tensor | Learned = 0.0,
        jump: str = "hard",
        detach_reset: bool = False,
        refractory: Number = 0.0,
        spike_time: str = "grid",
        input: str = "held",
        *,
        surrogate: str | Surrogate | Smooth = ...,
        backend: str = "auto",
        memory: str = "store",
    ) -> None: ...

class PLIF(SpikingLayer):
    def __init__(
        self,
        tau: Number | Tensor | Learned = 2.0,
        dt: Number = 1.0,
        scheme: str = "exponential",
        decay_input: bool = True,
        v_threshold: Number | Tensor | Learned = 1.0,
        v_reset: Number | Tensor | Learned = 0.0,
        v_rest: Number | Tensor | Learned = 0.0,
        jump: str = "hard",
        detach_reset: bool = False,
        refractory: Number = 0.0,
        spike_time: str = "grid",
        input: str = "held",
        *,
        surrogate: str | Surrogate | Smooth = ...,
        backend: str = "auto",
        memory: str = "store",
    ) -> None: ...

class ALIF(SpikingLayer):
    def __init__(
        self,
        tau: Number | Tensor | Learned = 2.0,
        dt: Number = 1.0,
        scheme: str = "exponential",
        tau_a: Number | Tensor | Learned = 20.0,
        beta: Number | Tensor | Learned = 0.2,
        v_threshold: Number | Tensor | Learned = 1.0,
        v_reset: Number | Tensor | Learned = 0.0,
        v_rest: Number | Tensor | Learned = 0.0,
        jump: str = "hard",
        detach_reset: bool = False,
        refractory: Number = 0.0,
        spike_time: str = "grid",
        input: str = "held",
        *,
        surrogate: str | Surrogate | Smooth = ...,
        backend: str = "auto",
        memory: str = "store",
    ) -> None: ...

class AdLIF(SpikingLayer):
    def __init__(
        self,
        tau: Number | Tensor | Learned = 2.0,
        dt: Number = 1.0,
        scheme: str = "exponential",
        tau_w: Number | Tensor | Learned = 20.0,
        a: Number | Tensor | Learned = 1.0,
        b: Number | Tensor | Learned = 0.2,
        v_threshold: Number | Tensor | Learned = 1.0,
        v_reset: Number | Tensor | Learned = 0.0,
        jump: str = "hard",
        detach_reset: bool = False,
        refractory: Number = 0.0,
        spike_time: str = "grid",
        input: str = "held",
        *,
        surrogate: str | Surrogate | Smooth = ...,
        backend: str = "auto",
        memory: str = "store",
    ) -> None: ...

class QIF(SpikingLayer):
    def __init__(
        self,
        tau: Number | Tensor | Learned = 2.0,
        dt: Number = 1.0,
        scheme: str = "exponential",
        v_c: Number | Tensor | Learned = 0.8,
        a0: Number | Tensor | Learned = 1.0,
        v_rest: Number | Tensor | Learned = 0.0,
        v_threshold: Number | Tensor | Learned = 1.0,
        v_reset: Number | Tensor | Learned = 0.0,
        jump: str = "hard",
        detach_reset: bool = False,
        refractory: Number = 0.0,
        spike_time: str = "grid",
        input: str = "held",
        *,
        surrogate: str | Surrogate | Smooth = ...,
        backend: str = "auto",
        memory: str = "store",
    ) -> None: ...

class EIF(SpikingLayer):
    def __init__(
        self,
        tau: Number | Tensor | Learned = 2.0,
        dt: Number = 1.0,
        scheme: str = "exponential",
        delta: Number | Tensor | Learned = 0.2,
        v_rheo: Number | Tensor | Learned = 0.8,
        v_rest: Number | Tensor | Learned = 0.0,
        v_threshold: Number | Tensor | Learned = 1.0,
        v_reset: Number | Tensor | Learned = 0.0,
        jump: str = "hard",
        detach_reset: bool = False,
        refractory: Number = 0.0,
        spike_time: str = "grid",
        input: str = "held",
        *,
        surrogate: str | Surrogate | Smooth = ...,
        backend: str = "auto",
        memory: str = "store",
    ) -> None: ...

class AdEx(SpikingLayer):
    def __init__(
        self,
        tau: Number | Tensor | Learned = 2.0,
        dt: Number = 1.0,
        scheme: str = "exponential",
        tau_w: Number | Tensor | Learned = 20.0,
        delta: Number | Tensor | Learned = 0.2,
        a: Number | Tensor | Learned = 0.1,
        b: Number | Tensor | Learned = 0.2,
        v_rheo: Number | Tensor | Learned = 0.8,
        v_rest: Number | Tensor | Learned = 0.0,
        v_threshold: Number | Tensor | Learned = 1.0,
        v_reset: Number | Tensor | Learned = 0.0,
        jump: str = "hard",
        detach_reset: bool = False,
        refractory: Number = 0.0,
        spike_time: str = "grid",
        input: str = "held",
        *,
        surrogate: str | Surrogate | Smooth = ...,
        backend: str = "auto",
        memory: str = "store",
    ) -> None: ...

class ResonateAndFire(SpikingLayer):
    def __init__(
        self,
        dt: Number = 1.0,
        scheme: str = "exponential",
        b: Number | Tensor | Learned = -0.1,
        omega: Number | Tensor | Learned = 0.5,
        v_threshold: Number | Tensor | Learned = 1.0,
        v_reset: Number | Tensor | Learned = 0.0,
        jump: str = "hard",
        detach_reset: bool = False,
        refractory: Number = 0.0,
        spike_time: str = "grid",
        input: str = "held",
        *,
        surrogate: str | Surrogate | Smooth = ...,
        backend: str = "auto",
        memory: str = "store",
    ) -> None: ...

class BalancedResonateAndFire(SpikingLayer):
    def __init__(
        self,
        dt: Number = 1.0,
        scheme: str = "exponential",
        b: Number | Tensor | Learned = -0.1,
        omega: Number | Tensor | Learned = 0.5,
        tau_q: Number | Tensor | Learned = 10.0,
        v_threshold: Number | Tensor | Learned = 1.0,
        v_reset: Number | Tensor | Learned = 0.0,
        jump: str = "hard",
        detach_reset: bool = False,
        refractory: Number = 0.0,
        spike_time: str = "grid",
        input: str = "held",
        *,
        surrogate: str | Surrogate | Smooth = ...,
        backend: str = "auto",
        memory: str = "store",
    ) -> None: ...

class Izhikevich2003(SpikingLayer):
    def __init__(
        self,
        dt: Number = 0.5,
        scheme: str = "exponential",
        a: Number | Tensor | Learned = 0.02,
        b: Number | Tensor | Learned = 0.2,
        d: Number | Tensor | Learned = 8.0,
        v_threshold: Number | Tensor | Learned = 30.0,
        v_reset: Number | Tensor | Learned = -65.0,
        jump: str = "hard",
        detach_reset: bool = False,
        refractory: Number = 0.0,
        spike_time: str = "grid",
        input: str = "held",
        *,
        surrogate: str | Surrogate | Smooth = ...,
        backend: str = "auto",
        memory: str = "store",
    ) -> None: ...

class HodgkinHuxley(SpikingLayer):
    def __init__(
        self,
        dt: Number = 0.05,
        scheme: str = "exponential_split",
        g_na: Number | Tensor | Learned = 120.0,
        g_k: Number | Tensor | Learned = 36.0,
        g_l: Number | Tensor | Learned = 0.3,
        e_na: Number | Tensor | Learned = 50.0,
        e_k: Number | Tensor | Learned = -77.0,
        e_l: Number | Tensor | Learned = -54.387,
        c: Number | Tensor | Learned = 1.0,
        tau_ref: Number | Tensor | Learned = 2.0,
        v_threshold: Number | Tensor | Learned = 0.0,
        v_reset: Number | Tensor | Learned = -65.0,
        jump: str = "hard",
        detach_reset: bool = False,
        refractory: Number = 0.0,
        spike_time: str = "grid",
        input: str = "held",
        *,
        surrogate: str | Surrogate | Smooth = ...,
        backend: str = "auto",
        memory: str = "store",
    ) -> None: ...
