"""Containers: a safetensors file with a description and a checksum.

Model files and checkpoints are containers. Their safetensors metadata has one entry, named after
the kind of file. It holds a line with the SHA-256 over everything else, since the format has no
checksum, and a JSON text with all values that are no tensors. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fastnet.errors import ModelFileError

_HEADER_LIMIT: Final = 2**24
_LIST_LIMIT: Final = 2**15
"""Most lists in a header, where every tensor has two: 1,000 layers need 8,000."""

ENSEMBLE: Final = "fastnet-ensemble"

_READERS: Final = {ENSEMBLE: "it holds an ensemble, which fn.Ensemble.load reads."}
"""What reads another kind of file, for messages."""

Tensors = Mapping[str, NDArray[Any]]


def pack(kind: str, description: Mapping[str, Any], tensors: Tensors) -> bytes:
    """Return the content of a container.

    Parameters
    ----------
    kind : str
        The kind of file, which names the entry of the metadata.
    description : dict of plain JSON values
    tensors : dict of C-contiguous arrays
    """
    from safetensors.numpy import save

    text = json.dumps(description)
    if not _is_text(description):
        raise ModelFileError(
            "a name of a column, category or label holds a lone surrogate, half of a character, "
            "which is not valid text: rename it."
        )
    content = save(dict(tensors), metadata={kind: f"{checksum(text, tensors)}\n{text}"})
    size = int.from_bytes(content[:8], "little")
    if not _is_modest(content[8 : 8 + size]):
        raise ModelFileError(
            f"the description takes {size:,} bytes, more than is read back: use fewer or shorter "
            "names of columns, categories and labels."
        )
    return content


def unpack(
    file: Path, kind: str, name: str, source: str
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the description and the tensors of a container, their checksum verified.

    Parameters
    ----------
    kind : str
        See `pack`.
    name, source : str
        The name of that kind of file, and its origin, for messages.

    Raises
    ------
    ModelFileError
        The file is missing, damaged, or of another kind.
    """
    from safetensors import SafetensorError, safe_open

    # Read metadata and tensors, after a look at the header.
    foreign = f"{file} is not a fastnet {name}"
    try:
        if not file.is_file():
            what = "is not a file" if file.exists() else "does not exist"
            raise ModelFileError(f"{file} {what}; {_a(name)} comes from {source}.")
        with open(file, "rb") as stream:
            # safetensors allows headers of 100 MB, which take seconds and a gigabyte to parse.
            size = int.from_bytes(stream.read(8), "little")
            fits = 0 < size <= min(_HEADER_LIMIT, file.stat().st_size)
            if not fits or not _is_modest(stream.read(size)):
                raise ModelFileError(f"{foreign}: it does not begin like a safetensors file.")
        with safe_open(file, framework="numpy") as opened:
            metadata = opened.metadata() or {}
            if kind not in metadata:
                other = next((hint for name, hint in _READERS.items() if name in metadata), None)
                raise ModelFileError(f"{foreign}: {other or 'it has no description of a network.'}")
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError, AttributeError) as error:
        # The latter two mean a type of numbers that NumPy does not have.
        raise ModelFileError(f"{foreign}, or it is damaged: {error}.") from None
    except ModelFileError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelFileError(f"{file} cannot be read: {reason}.") from error
    # Verify the checksum, and parse the description.
    digest, _, text = metadata[kind].partition("\n")
    if digest != checksum(text, tensors):
        raise ModelFileError(f"{file} is damaged: its checksum does not match its content.")
    try:
        description = json.loads(text)
    except (ValueError, RecursionError):
        description = None
    if not isinstance(description, dict):
        raise ModelFileError(f"{foreign}: its description cannot be read.")
    if not _is_text(description):
        raise ModelFileError(f"{file}: a text in it holds a lone surrogate, half of a character.")
    return description, tensors


def kinds(file: Path) -> frozenset[str]:
    """Return the kinds that a container says it is; none for a file that is no container."""
    try:
        with open(file, "rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            header = stream.read(size) if 0 < size <= _HEADER_LIMIT else b""
        if not _is_modest(header):
            return frozenset()
        metadata = json.loads(header).get("__metadata__")
    except (OSError, ValueError, RecursionError, AttributeError):
        return frozenset()
    return frozenset(metadata) if isinstance(metadata, dict) else frozenset()


def _is_text(description: Mapping[str, Any]) -> bool:
    """Return whether UTF-8 can hold all texts; JSON can escape one half of a surrogate pair."""
    try:
        json.dumps(description, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_modest(header: bytes) -> bool:
    """Return whether a header takes little time and memory to parse."""
    return len(header) <= _HEADER_LIMIT and header.count(b"[") <= _LIST_LIMIT


def require_version(file: Path, description: Mapping[str, Any], *versions: int) -> None:
    """Raise unless the description says that the file has one of these versions of its format."""
    if "version" not in description:
        raise ModelFileError(f"{file} is damaged: its description has no version.")
    if description["version"] not in versions:
        known = " and ".join(map(str, versions))
        raise ModelFileError(
            f"{file} has the format version {description['version']!r}; this fastnet reads {known}."
        )


def checksum(text: str, tensors: Tensors) -> str:
    """Return the SHA-256 over the description and every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        values = np.ascontiguousarray(tensors[name])
        digest.update(f"\n{name} {values.dtype.str} {values.shape}\n".encode())
        # Types of numbers from other packages have no buffer, so the bytes are hashed.
        digest.update(values.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _a(name: str) -> str:
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"
