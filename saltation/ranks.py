"""Processes that train one network together, each on its part of every batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, distributed

from saltation.errors import SaltationError, choose

STRATEGIES = ("ddp",)


class Ranks:
    """The processes of a data-parallel training, over lightning-fabric and torch.distributed.

    By default it is this process alone. The results of several are those of one with the
    same global batch, to the order in which gradients are added; batch normalisation takes the
    statistics of each process's part.

    Parameters
    ----------
    device
        Where networks run; of several GPUs each process takes one.
    count
        Number of processes. They are started here, with the command this one was started with,
        unless torchrun has started them.
    strategy
        ``ddp``: gradients are averaged over the processes (gloo on a CPU, nccl on GPUs).

    Attributes
    ----------
    fabric
        Of lightning-fabric.
    rank, count
        Which process this is, from 0, of how many.

    Raises
    ------
    SaltationError
        If the strategy is unknown.
    """

    def __init__(self, device: torch.device, count: int = 1, strategy: str = "ddp") -> None:
        choose("strategy", strategy, STRATEGIES)
        from lightning_fabric import Fabric  # the import takes a second

        if count == 1:
            devices: Any = [device.index] if device.index else 1
            self.fabric = Fabric(accelerator=device.type, devices=devices)
        else:
            self.fabric = Fabric(accelerator=device.type, devices=count, strategy=strategy)
            self.fabric.launch()
        self.rank = int(self.fabric.global_rank)
        self.count = int(self.fabric.world_size)
        if self.count != count:
            raise SaltationError(f"devices is {count}, but {self.count} processes were started")

    @property
    def part(self) -> tuple[int, int]:
        """Which samples of a batch are this process's: those from ``part[0]``, every
        ``part[1]``-th."""
        return self.rank, self.count

    def total(self, numbers: Sequence[float]) -> list[float]:
        """Sums over the processes."""
        if self.count == 1:
            return list(numbers)
        summed = torch.tensor(numbers, dtype=torch.float64, device=self.fabric.device)
        distributed.all_reduce(summed)
        return [float(number) for number in summed]

    def sum(self, counts: Tensor) -> Tensor:
        """Sums over the processes, element by element."""
        if self.count == 1:
            return counts
        summed = counts.clone()
        distributed.all_reduce(summed)
        return summed

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Give all processes the values that process 0 has."""
        if self.count > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)

    def close(self) -> None:
        """Part with the other processes."""
        if self.count > 1:
            # Its thread has let go of the tensors of what came before by then; with torch 2.6 it
            # would wait for Python's lock to do so, while the end of the process waits for it.
            distributed.barrier()
            distributed.destroy_process_group()

    def tell(self, what: Any = None) -> Any:
        """What process 0 says to all."""
        if self.count == 1:
            return what
        box = [what]
        distributed.broadcast_object_list(box, 0)
        return box[0]
