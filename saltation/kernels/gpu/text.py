"""The two time loops of a program as Triton text.

An instance takes BLOCK neurons through all steps, which are counted at run time; states stay in
registers. Forward writes spikes and, if backward will follow, the state every `steps_between`
steps. Backward goes from the last of these checkpoints to the first: from each it repeats the steps
up to the next, in registers, and goes back through them.
"""

from __future__ import annotations

from collections.abc import Iterable

from saltation.kernels.gpu.printing import FUNCTIONS, Names, numbers, printed, rows
from saltation.kernels.program.graph import Program, Slots

# What a module begins with.
HEAD = """
import triton
import triton.language as tl
"""

# Between checkpoints at most so many steps, and operations that are printed.
_STEPS, _OPERATIONS = 8, 600


def steps_between(program: Program) -> int:
    """Steps from one checkpoint to the next: more of them need less memory, and more registers."""
    operations = len(program.forward.nodes) + len(program.backward.nodes)
    return max(1, min(_STEPS, _OPERATIONS // operations))


def module(program: Program) -> str:
    """Text of a module with the functions ``forward`` and ``backward``."""
    return "\n\n".join([HEAD + FUNCTIONS, _forward(program), _backward(program)])


def function(name: str, arguments: str, lines: Iterable[str]) -> str:
    """A function of these arguments, and BLOCK."""
    body = "\n".join(f"    {line}" for line in lines)
    return f"def {name}({arguments}, BLOCK: tl.constexpr):\n{body}\n"


def place() -> list[str]:
    """Lines that say which neurons an instance has."""
    return [
        "place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)",
        "alive = place < size",
    ]


def load(name: str, array: str, slot: int = 0, at: str = "place", mask: str = "alive") -> str:
    """A line that loads row ``slot`` of ``array`` [., N]."""
    where = f"{array} + {at}" if not slot else f"{array} + {at} + {slot} * wide"
    return f"{name} = tl.load({where}, mask={mask}, other=0.0)"


def store(name: str, array: str, slot: int = 0, at: str = "place", mask: str = "alive") -> str:
    """A line that stores ``name`` there."""
    where = f"{array} + {at}" if not slot else f"{array} + {at} + {slot} * wide"
    return f"tl.store({where}, {name}, mask={mask})"


def constants(number_slots: list[int], row_slots: list[int]) -> list[str]:
    """Lines that load what does not change in time."""
    lines = ["wide = tl.full((), 0, tl.int64) + size"]
    lines += [f"number{slot} = tl.load(numbers + {slot})" for slot in number_slots]
    return lines + [load(f"row{slot}", "rows", slot) for slot in row_slots]


def indented(lines: Iterable[str]) -> list[str]:
    """Lines of a block within."""
    return [f"    {line}" for line in lines]


def _forward(program: Program) -> str:
    v = range(program.variables)
    inputs = ["current", *(f"state{n}" for n in v)]

    def names(kind: str, slot: int) -> str:
        return inputs[slot] if kind == "input" else f"{kind}{slot}"

    lines = [*place(), *constants(numbers(program.forward), rows(program.forward))]
    lines += [load(f"state{n}", "state", n) for n in v]
    lines += ["at = place", "to = place"]
    step, results = printed(program.forward, "f", names)
    spike, after = results[program.variables], results[program.variables + 1 :]
    checkpoint = [store(f"state{n}", "kept", n, "to") for n in v]
    lines += ["for t in range(steps):"]
    lines += indented(
        [
            "if KEEP:",
            f"    if t % {steps_between(program)} == 0:",
            *indented(indented([*checkpoint, f"to += {program.variables} * wide"])),
            load("current", "x", at="at"),
            *step,
            store(spike, "s", at="at"),
            # All at once: one may be what another was.
            f"{', '.join(f'state{n}' for n in v)} = {', '.join(after)}",
            "at += wide",
        ]
    )
    lines += [store(f"state{n}", "last", n) for n in v]
    arguments = "numbers, rows, x, state, last, s, kept, steps, size, KEEP: tl.constexpr"
    return function("forward", arguments, lines)


def _backward(program: Program) -> str:
    every, count = steps_between(program), program.variables
    v, learned = range(count), range(len(program.learned))
    carried = range(count + program.late)
    slots = Slots(count)
    graphs = program.forward, program.backward
    lines = [*place(), *constants(numbers(*graphs), rows(*graphs))]
    lines += [load(f"g{n}", "g", n) for n in carried]
    lines += [f"learned{n} = tl.full((BLOCK,), 0.0, tl.float32)" for n in learned]
    lines += ["at = place + origin", "frm = place + kept_origin", "first = begin"]
    state = [f"state{n}" for n in v]
    again = [load(state[n], "kept", n, "frm") for n in v]
    back: list[str] = []
    for j in range(every):
        again += [
            f"on{j} = place < tl.where(first + {j} < steps, wide, 0)",
            f"at{j} = at" if not j else f"at{j} = at{j - 1} + wide",
            load(f"current{j}", "x", at=f"at{j}", mask=f"on{j}"),
        ]
        given = dict(enumerate([f"current{j}", *state]))
        step, results = printed(program.forward, f"f{j}_", _named(given))
        again += step
        gradient = {
            Slots.SPIKE: f"g_s{j}",
            Slots.CURRENT: f"current{j}",
            **dict(zip(slots.after, (f"g{n}" for n in v), strict=True)),
            **dict(zip(slots.before, state, strict=True)),
            **dict(zip(slots.h, results[:count], strict=True)),
            slots.late: f"g{count}",
        }
        step, found = printed(program.backward, f"b{j}_", _named(gradient), fast=True)
        g, of_learned = found[1 : 1 + len(carried)], found[1 + len(carried) :]
        chosen = (f"tl.where(on{j}, {new}, g{n})" for n, new in enumerate(g))
        back = [
            load(f"g_s{j}", "g_s", at=f"at{j}", mask=f"on{j}"),
            *step,
            store(found[0], "g_x", at=f"at{j}", mask=f"on{j}"),
            *(f"learned{n} += tl.where(on{j}, {new}, 0.0)" for n, new in enumerate(of_learned)),
            f"{', '.join(f'g{n}' for n in carried)} = {', '.join(chosen)}",
            *back,
        ]
        state = results[count + 1 :]
    earlier = [f"at -= {every} * wide", f"frm -= {count} * wide", f"first -= {every}"]
    lines += ["for segment in range(segments):", *indented([*again, *back, *earlier])]
    lines += [store(f"g{n}", "g", n) for n in carried]
    lines += [store(f"learned{n}", "learned", n) for n in learned]
    arguments = (
        "numbers, rows, x, kept, g_s, g, g_x, learned, "
        "steps, size, segments, begin, origin, kept_origin"
    )
    return function("backward", arguments, lines)


def _named(inputs: dict[int, str]) -> Names:
    return lambda kind, slot: inputs[slot] if kind == "input" else f"{kind}{slot}"
