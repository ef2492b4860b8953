"""What a network does, as a plan of calls on whole sequences."""

from __future__ import annotations

from torch import nn

from saltation.interop.convert.following import Following
from saltation.interop.convert.network import Value, pruned, without_states
from saltation.interop.convert.peers import Library
from saltation.interop.convert.traced import PROBED
from saltation.layers.sequential import Sequential


class Plan:
    """The plan of a network.

    Attributes
    ----------
    operations, output
        The calls in their order, and what is returned of their values.
    modules
        Those that are called, by name.
    """

    def __init__(self, network: nn.Module, library: Library) -> None:
        self._library = library
        self._followed = found = Following(network, library)
        self.operations, self.output = found.operations, found.output
        self.modules = found.modules

    def check(self, network: nn.Module) -> None:
        """Refuse a network that does something else in the other mode, or after more steps.

        Numbers that a forward pass takes from its input's size or from ``self.training`` would be
        what they were when it was followed.
        """
        steps, training = PROBED + 1, not network.training
        other = Following(network, self._library, steps=steps, training=training)
        if (self.operations, self.output) != (other.operations, other.output):
            raise self._followed.wrong(
                "does something else in training than in evaluation by itself, or computes with "
                "the number of its input's steps"
            )

    def leave_states_out(self) -> None:
        """Keep of the output what follows from spikes."""
        output = without_states(self.operations, self.output)
        if output is None:
            raise self._followed.wrong("returns states alone, with states=False")
        self.operations, self.output = pruned(self.operations, output)
        targets = {one.target for one in self.operations}
        self.modules = {name: m for name, m in self.modules.items() if name in targets}

    def as_chain(self) -> nn.Module | None:
        """The network as a chain of its modules, if it is no more than that."""
        names = [str(one.target) for one in self.operations[1:]]
        chained = all(
            one.kind in ("module", "neurons") and [v.place for v in one.args] == [place]
            for place, one in enumerate(self.operations[1:])
        )
        last = Value(len(self.operations) - 1)
        ends = self.output in (last, last._replace(part="spikes"))
        if not chained or not ends or any("." in n for n in names) or len(set(names)) < len(names):
            return None
        made = Sequential()
        for name in names:
            made.add_module(name, self.modules[name])
        return made
