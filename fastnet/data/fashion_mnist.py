"""fashion-mnist: 70,000 pictures of clothes, 28 x 28 pixels, in ten classes.

Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking
Machine Learning Algorithms" (2017), https://github.com/zalandoresearch/fashion-mnist, under the
MIT licence. 60,000 rows are for training and 10,000 for testing.

The four files are looked for in `folder`, in ``FASTNET_DATA_DIR``, where Debian's package
``dataset-fashion-mnist`` puts them, and in the user's cache; what is missing there is downloaded.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnet.data.arrays import Arrays
from fastnet.data.download import cache_folder, download
from fastnet.data.idx import read_idx
from fastnet.errors import DataError, DataNotFoundError

ADDRESSES = (
    # The authors' bucket, by the address that has TLS (their README gives one that has not).
    "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
    # The same files in their repository.
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)
"""Where the files are downloaded from: the first that answers; tests put their own here."""

SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package ``dataset-fashion-mnist`` puts the files."""

LABEL_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


class SourceFile(NamedTuple):
    """One file of the data set.

    Attributes
    ----------
    shape : tuple of int
    bytes : int
        Size of the official ``.gz`` file.
    sha256_gz : str
        SHA-256 of the official ``.gz`` file, compared after a download. Its MD5 is in the README
        of the data set.
    sha256_values : str
        SHA-256 of the values, after the header. It is compared always, as the same pictures
        are around in other packings, and MNIST's digits in files of these names and shapes.
    """

    shape: tuple[int, ...]
    bytes: int
    sha256_gz: str
    sha256_values: str


FILES = {
    "train-images-idx3-ubyte": SourceFile(
        (60000, 28, 28),
        26421880,
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
    ),
    "train-labels-idx1-ubyte": SourceFile(
        (60000,),
        29515,
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
    ),
    "t10k-images-idx3-ubyte": SourceFile(
        (10000, 28, 28),
        4422102,
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
    ),
    "t10k-labels-idx1-ubyte": SourceFile(
        (10000,),
        5148,
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
    ),
}


def read(folder: str | os.PathLike[str] | None = None) -> Arrays:
    """Return x (60000, 28, 28) uint8, y (60000,) uint8, and the test split of 10,000 rows.

    Raises
    ------
    DataNotFoundError
        If `folder` was given and lacks a file, or a file is nowhere and cannot be downloaded.
    DataError
        If a file is damaged or is not of this data set.
    """
    paths = _find(folder)
    x, y, x_test, y_test = (_read_checked(paths[name], file) for name, file in FILES.items())
    test = Arrays("fashion-mnist (test)", x_test, y_test, "label", LABEL_NAMES)
    return Arrays("fashion-mnist", x, y, "label", LABEL_NAMES, test=test)


def _find(folder: str | os.PathLike[str] | None) -> dict[str, Path]:
    """Return the path of each file: all in one folder, or in the cache, where they are put."""
    if folder is not None:
        found = _files_in(Path(folder)) or _files_in(Path(folder, "fashion-mnist"))
        if found is None:
            raise DataNotFoundError(
                f"The folder {str(folder)!r} does not have the four files of fashion-mnist: "
                f"{', '.join(FILES)}, each with or without .gz."
            )
        return found
    named = os.environ.get("FASTNET_DATA_DIR")
    places = [Path(named), Path(named, "fashion-mnist")] if named else []
    for place in (*places, SYSTEM_FOLDER):
        found = _files_in(place)
        if found is not None:
            return found
    return _fetch(cache_folder() / "fashion-mnist")


def _files_in(folder: Path) -> dict[str, Path] | None:
    paths = {}
    for name in FILES:
        choices = (folder / name, folder / f"{name}.gz")
        path = next((choice for choice in choices if choice.is_file()), None)
        if path is None:
            return None
        paths[name] = path
    return paths


def _fetch(folder: Path) -> dict[str, Path]:
    paths = {name: folder / f"{name}.gz" for name in FILES}
    for name, path in paths.items():
        if not path.is_file():
            addresses = [f"{address}{path.name}" for address in ADDRESSES]
            try:
                download(addresses, path, FILES[name].sha256_gz, FILES[name].bytes)
            except DataNotFoundError as error:
                raise DataNotFoundError(
                    f"{error} Without a network, set FASTNET_DATA_DIR to a folder with the files "
                    "of fashion-mnist."
                ) from error
    return paths


def _read_checked(path: Path, file: SourceFile) -> NDArray[Any]:
    array = read_idx(path)
    if array.shape != file.shape or array.dtype != np.uint8:
        raise DataError(
            f"{path}: expected {file.shape} bytes, got {array.dtype} of shape {array.shape}."
        )
    if hashlib.sha256(array.data).hexdigest() != file.sha256_values:
        raise DataError(f"{path} does not hold the values of fashion-mnist; remove or replace it.")
    return array
