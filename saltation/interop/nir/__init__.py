"""Networks as graphs of the Neuromorphic Intermediate Representation (NIR).

A graph says equations in continuous time; what computes them needs a scheme and a step. Source:
Pedersen et al., "Neuromorphic intermediate representation: a unified instruction set for
interoperable brain-inspired computing", Nature Communications, 2024.
"""

from saltation.interop.nir.certificate import Certificate, certificate
from saltation.interop.nir.loading import load
from saltation.interop.nir.saving import save

__all__ = ["Certificate", "certificate", "load", "save"]
