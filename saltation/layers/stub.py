"""The signatures of the layers in ``zoo.py``, for editors and type checkers.

A layer takes its parameters from its model when it is made, which no editor sees. So they stand in
``zoo.pyi`` too, which ``python -m saltation.layers.stub`` writes.
"""

from __future__ import annotations

import inspect
from pathlib import Path

from saltation.layers import zoo
from saltation.layers.neuron import SpikingLayer
from saltation.neurons import made

PLACE = Path(zoo.__file__).with_suffix(".pyi")

_HEAD = '''"""The layers of the models; made by ``python -m saltation.layers.stub``."""

from torch import Tensor

from saltation.errors import Number
from saltation.layers.learned import Learned
from saltation.layers.neuron import SpikingLayer
from saltation.surrogate import Smooth, Surrogate
'''


def text() -> str:
    """The whole file."""
    layers = [
        layer
        for layer in vars(zoo).values()
        if inspect.isclass(layer) and issubclass(layer, SpikingLayer) and layer is not SpikingLayer
    ]
    return "\n".join([_HEAD, *map(_class, layers)])


def _class(layer: type[SpikingLayer]) -> str:
    lines, is_placed = [], True
    for parameter in inspect.signature(layer).parameters.values():
        if is_placed and parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            lines.append("*,")
            is_placed = False
        lines.append(f"{parameter.name}: {_type(layer, parameter)} = {_default(parameter)},")
    body = "".join(f"        {line}\n" for line in lines)
    return (
        f"class {layer.__name__}(SpikingLayer):\n"
        f"    def __init__(\n        self,\n{body}    ) -> None: ...\n"
    )


def _type(layer: type[SpikingLayer], parameter: inspect.Parameter) -> str:
    kind = parameter.annotation
    name = kind if isinstance(kind, str) else kind.__name__
    if "float" in name:
        varies = made.may_vary(layer.neuron_type, parameter.name)
        name = "Number | Tensor | Learned" if varies else "Number"
    return f"{name} | None" if parameter.default is None else name


def _default(parameter: inspect.Parameter) -> str:
    plain = isinstance(parameter.default, str | bool | float | int | None)
    return repr(parameter.default).replace("'", '"') if plain else "..."


if __name__ == "__main__":
    PLACE.write_text(text(), encoding="utf-8")
