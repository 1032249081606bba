"""The folder of a run's checkpoints: the two newest are kept, and only one process writes there."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from fastnet.errors import CheckpointError, CheckpointWarning, ModelFileError
from fastnet.serialization import safetensors_file
from fastnet.utils import files
from fastnet.utils.warn import warn

FORMAT_VERSION: Final = 1
KEPT: Final = 2
"""The newest checkpoint, and the one before it in case the disk damages the newest."""

_KIND: Final = "fastnet-checkpoint"
_NAME: Final = re.compile(r"checkpoint-(\d{10,})\.safetensors")
_TEMPORARY: Final = re.compile(r"\.[0-9a-f]{16}\.tmp")

Content = tuple[dict[str, Any], dict[str, NDArray[Any]]]


class Folder:
    """Checkpoints by the number of steps taken.

    Parameters
    ----------
    path : Path
        Created by `opened` if missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Create the folder and lock it.

        Under the lock, temporary files can only be those of a process that died; they are removed.

        Raises
        ------
        CheckpointError
            The folder cannot be written to, or another run writes to it now.
        """
        with ExitStack() as stack:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                stack.enter_context(_locked(self.path))
                for file in self.path.iterdir():
                    if _TEMPORARY.fullmatch(file.name):
                        file.unlink(missing_ok=True)
                probe = self.path / f".{os.urandom(8).hex()}.tmp"
                probe.touch()
                probe.unlink()
                files.sync_folder(self.path.absolute().parent)
            except CheckpointError:
                raise
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise CheckpointError(
                    f"checkpoints cannot be written to {self.path}: {reason}."
                ) from error
            yield

    def files(self) -> list[Path]:
        """Return the checkpoints, the newest first."""
        found = [file for file in self.path.iterdir() if _NAME.fullmatch(file.name)]
        return sorted(found, key=_number, reverse=True)

    def read(self) -> Content | None:
        """Return the newest valid checkpoint, or None if the folder has no checkpoint.

        Raises
        ------
        CheckpointError
            There are checkpoints, but none can be read.
        """
        damaged = []
        files = self.files()
        for file in files:
            try:
                content = safetensors_file.unpack(file, _KIND, "checkpoint", "fit(checkpoint=...)")
                safetensors_file.require_version(file, content[0], FORMAT_VERSION)
            except ModelFileError as error:
                damaged.append(str(error))
                continue
            for message in damaged:
                warn(
                    f"{message} Training goes on from {file.name}, the one before.",
                    CheckpointWarning,
                )
            return content
        if damaged:
            raise CheckpointError(f"there is nothing to go on from: {' '.join(damaged)}")
        return None

    def write(self, steps: int, description: dict[str, Any], tensors: dict[str, Any]) -> None:
        """Write a checkpoint, and remove all but the newest `KEPT`.

        Raises
        ------
        ModelFileError
            It cannot be written. The other checkpoints are untouched.
        """
        content = safetensors_file.pack(_KIND, {"version": FORMAT_VERSION, **description}, tensors)
        name = f"checkpoint-{steps:010d}.safetensors"
        files.write_atomically(self.path / name, content)
        # A checkpoint that cannot be removed only takes space.
        with suppress(OSError):
            for file in self.files()[KEPT:]:
                file.unlink(missing_ok=True)


def _number(file: Path) -> int:
    found = _NAME.fullmatch(file.name)
    assert found is not None
    return int(found[1])


if sys.platform == "win32":

    @contextmanager
    def _locked(folder: Path) -> Iterator[None]:
        """Do nothing: this system locks no folders, and removes no file that is being written."""
        yield

else:

    @contextmanager
    def _locked(folder: Path) -> Iterator[None]:
        """Hold the lock of a folder; the system releases it however the process ends."""
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CheckpointError(
                    f"another run writes its checkpoints to {folder} now: give each a folder of "
                    "its own."
                ) from None
            except OSError:
                pass  # a file system without locks
            yield
        finally:
            os.close(descriptor)
