"""`OneThread`: a context that one Python thread at a time may enter."""

from __future__ import annotations

import threading

from fastnet.errors import InputError


class OneThread:
    """Lets no other Python thread train a network meanwhile; a thread may enter it again.

    Raises
    ------
    InputError
        Another thread is in it: the steps of both would mix.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        """Enter, or refuse at once."""
        if not self._lock.acquire(blocking=False):
            raise InputError(
                "another thread is training this network: wait until it is done, or train a copy "
                "(net.copy())."
            )

    def __exit__(self, *error: object) -> None:
        """Leave."""
        self._lock.release()
