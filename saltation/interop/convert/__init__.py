"""Networks of snnTorch and SpikingJelly as networks of saltation."""

from saltation.interop.convert.convert import from_snntorch, from_spikingjelly

__all__ = ["from_snntorch", "from_spikingjelly"]
