"""``fastnet train --distributed``: every process of mpiexec runs the command, and rank 0 writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from fastnet.cli.commands.train.data import TrainingData
from fastnet.cli.commands.train.settings import Settings
from fastnet.cli.load import Rows
from fastnet.cli.sources import STANDARD
from fastnet.data import Chunks
from fastnet.distributed import Ranks, mpi
from fastnet.distributed import group as distributed
from fastnet.distributed.group import Group
from fastnet.errors import InputError
from fastnet.network import Network

TIMEOUT: Final = 600.0
"""Seconds in which a process hears nothing of the others before it ends itself, and so all."""


@contextmanager
def opened(settings: Settings) -> Iterator[Group | None]:
    """Return the processes of ``--distributed``, which end together; None without the option.

    Raises
    ------
    click.UsageError
        An option does not go with it.
    FastNetError
        mpi4py or MPI is missing.
    """
    training = settings.training
    if not training.distributed:
        if training.parts is not None:
            raise click.UsageError("--parts goes with --distributed only.")
        yield None
        return
    for name, given in (
        ("--n-estimators", settings.n_members is not None),
        ("--calibrate", training.calibrate),
        ("--html", settings.output.html is not None),
        ("- (standard input)", settings.data.source == STANDARD),
        ("--optimizer lbfgs", training.optimizer == "lbfgs"),
    ):
        if given:
            raise click.UsageError(f"{name} does not go with --distributed.")
    with distributed.opened(Ranks(mpi.world(), training.parts, TIMEOUT)) as group:
        yield group


def placed(network: Network, settings: Settings, group: Group | None) -> Network:
    """Return the network on the GPU of this process, if it is on a GPU.

    The processes of a machine take its GPUs in turn, unless ``--device`` says otherwise.
    """
    count = network.backend_object.devices()
    if group is None or settings.model.device is not None or not count:
        return network
    return network.to("cupy", device=group.communicator.local_rank % count)


def share(group: Group, data: TrainingData, options: dict[str, Any]) -> tuple[Any, Any]:
    """Return the x and y of this process, and set its further options of ``fit``.

    All processes have opened the same files, or have loaded all rows.
    """
    options["comm"] = group.ranks
    if isinstance(data.x, Chunks):
        return data.x, data.y
    held_out = data.validation
    if isinstance(held_out, Rows):
        options["validation_data"] = held_out.take(_own(group, len(held_out))).samples
    if data.weight is not None:
        options["sample_weight"] = data.weight[_own(group, len(data))]
    own = _own(group, len(data))
    return data.x[own], data.y[own]


def _own(group: Group, rows: int) -> slice:
    """Return which of so many rows this process gives; it gets those of its parts."""
    if rows < group.size:
        raise InputError(f"there are {rows} rows, and {group.size} processes: start fewer.")
    return slice(rows * group.rank // group.size, rows * (group.rank + 1) // group.size)
