"""Networks of other libraries, as they are. Nothing is imported until it is used."""

from saltation.interop.adapting import adapt

__all__ = ["adapt"]
