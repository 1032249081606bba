"""Training of one network on several processes, each with a share of the rows.

``net.fit(x, y, comm=MPI.COMM_WORLD)`` is all that most programs need of it. `Ranks` says more, and
`local_rank` which GPU of its machine a process takes.
"""

from fastnet.distributed.mpi import local_rank
from fastnet.distributed.ranks import Ranks

__all__ = ["Ranks", "local_rank"]
