"""Fuzz the readers written in Python, guided by the branches that a file reaches.

``pip install atheris``, then ``python -m tools.coverage_fuzz csv --seconds 300``. It stops at the
first file that is neither data nor refused by one of fastnet's errors, and leaves it as
``crash-...``. The files of safetensors and Parquet are read by compiled code, whose branches it
does not see: they are left to `tools.fuzzing`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["fastnet.data", "zipfile", "gzip", "numpy.lib"], enable_loader_override=False
):
    import fastnet as fn
    from fastnet.data import arrays, arrow, columns, csv, dataset, frame, idx, npy  # noqa: F401

from tools.fuzzing import FORMATS

READ_IN_PYTHON = ("csv", "csv-numbers", "npy", "npz", "npz-deflated", "idx", "idx-gzip")


def main() -> None:
    parser = argparse.ArgumentParser("python -m tools.coverage_fuzz", description=__doc__)
    parser.add_argument("format", choices=READ_IN_PYTHON)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    form = FORMATS[arguments.format]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, corpus = folder / form.name, folder / "corpus"
        corpus.mkdir()
        (corpus / "good").write_bytes(form.good(folder))

        def read(data: bytes) -> None:
            path.write_bytes(data)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                warnings.simplefilter("ignore", fn.FastNetWarning)
                try:
                    form.read(path)
                except fn.FastNetError as error:
                    assert "\n" not in str(error)

        limits = [f"-max_total_time={arguments.seconds}", "-max_len=4096", "-timeout=2"]
        atheris.Setup([sys.argv[0], str(corpus), f"-seed={arguments.seed}", *limits], read)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
