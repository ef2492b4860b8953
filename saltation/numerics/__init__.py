"""What a network's numbers are worth, and how it is run with others."""

from saltation.numerics.at_dt import AtDt, at_dt
from saltation.numerics.mapping import Mapping

__all__ = ["AtDt", "Mapping", "at_dt"]
