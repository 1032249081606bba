"""fashion-mnist: where its files are looked for, how they are checked, and how downloaded."""

import gzip
import hashlib
import http.client
import http.server
import os
import socket
import stat
import threading
from pathlib import Path

import numpy as np
import pytest

from fastnet.data import fashion_mnist, load
from fastnet.data.download import download
from fastnet.errors import DataError, DataNotFoundError

DATA = Path(os.environ.get("FASTNET_DATA_DIR") or "nowhere")
real = pytest.mark.skipif(
    not any((DATA / sub / "train-images-idx3-ubyte.gz").is_file() for sub in ("", "fashion-mnist")),
    reason="FASTNET_DATA_DIR does not name a folder with the files of fashion-mnist",
)


def contents():
    """Return the four files of a data set of the same form, but small, by name."""
    rng = np.random.default_rng(11)
    files = {}
    for part, rows in (("train", 20), ("t10k", 10)):
        for name, shape, top in (
            (f"{part}-images-idx3-ubyte", (rows, 28, 28), 256),
            (f"{part}-labels-idx1-ubyte", (rows,), 10),
        ):
            values = rng.integers(0, top, shape, dtype=np.uint8)
            head = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
            files[name] = (head, values)
    return files


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Put a small data set in the place of the real one; return its packed files by name."""
    packed, table = {}, {}
    for name, (head, values) in contents().items():
        packed[f"{name}.gz"] = gzip.compress(head + values.tobytes(), mtime=0)
        table[name] = fashion_mnist.SourceFile(
            values.shape,
            len(packed[f"{name}.gz"]),
            hashlib.sha256(packed[f"{name}.gz"]).hexdigest(),
            hashlib.sha256(values.tobytes()).hexdigest(),
        )
    monkeypatch.setattr(fashion_mnist, "FILES", table)
    monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setattr(fashion_mnist, "ADDRESSES", ())
    monkeypatch.delenv("FASTNET_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("FASTNET_CACHE_DIR", raising=False)
    return packed


def put(folder, files, plain=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if plain:
            name, content = name.removesuffix(".gz"), gzip.decompress(content)
        (folder / name).write_bytes(content)
    return folder


# --- where the files are ---------------------------------------------------------------------


@pytest.mark.parametrize("plain", [False, True], ids=["gzip", "plain"])
@pytest.mark.parametrize("sub", ["", "fashion-mnist"])
def test_files_are_found_in_the_folder_that_is_given(small, tmp_path, plain, sub):
    put(tmp_path / "given" / sub, small, plain)
    data = load("fashion-mnist", folder=tmp_path / "given")
    values = contents()["train-images-idx3-ubyte"][1]
    assert (data.rows, data.test.rows) == (20, 10)
    assert data.x.dtype == np.float32
    np.testing.assert_array_equal(data.x, values.reshape(20, 784).astype(np.float32) / 255)
    assert data.y.tolist() == contents()["train-labels-idx1-ubyte"][1].tolist()
    assert data.y.dtype == np.int64
    assert (data.label_names[0], data.label_names[9]) == ("T-shirt/top", "Ankle boot")


@pytest.mark.parametrize(
    "place", ["named", "named/fashion-mnist", "system", "cache/fastnet/fashion-mnist"]
)
def test_files_are_found_where_the_environment_says_in_the_system_and_in_the_cache(
    small, tmp_path, monkeypatch, place
):
    put(tmp_path / place, small)
    monkeypatch.setenv("FASTNET_DATA_DIR", str(tmp_path / "named"))
    assert load("fashion-mnist").rows == 20


def test_a_given_folder_without_all_files_is_an_error_even_if_they_are_elsewhere(small, tmp_path):
    put(tmp_path / "system", small)
    incomplete = put(tmp_path / "given", small)
    (incomplete / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataNotFoundError, match="does not have the four files"):
        load("fashion-mnist", folder=incomplete)


def test_without_a_home_it_says_what_to_set(small, monkeypatch):
    """`tests/utils/test_machine.py` has the places of the cache itself."""
    del small

    def homeless():
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(
        DataNotFoundError, match="no home folder for a cache: set FASTNET_CACHE_DIR"
    ):
        load("fashion-mnist")


# --- what is in them -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("train-images-idx3-ubyte", "values", "does not hold the values of fashion-mnist"),
        ("t10k-labels-idx1-ubyte", "shape", r"expected \(10,\) bytes, got uint8 of shape \(20,\)"),
    ],
)
def test_files_of_another_data_set_are_refused(small, tmp_path, name, change, message):
    head, values = contents()[name]
    other = gzip.compress(head + (255 - values).tobytes())
    if change == "shape":
        other = small["train-labels-idx1-ubyte.gz"]
    folder = put(tmp_path / "given", small | {f"{name}.gz": other})
    with pytest.raises(DataError, match=message):
        load("fashion-mnist", folder=folder)


def test_files_packed_anew_are_accepted(small, tmp_path):
    again = {name: gzip.compress(gzip.decompress(data), 1) for name, data in small.items()}
    assert again != small
    assert load("fashion-mnist", folder=put(tmp_path / "given", again)).rows == 20


@real
def test_the_real_files_have_60000_and_10000_rows_and_a_tenth_of_each_class():
    data = load("fashion-mnist")
    assert (data.x.shape, data.test.x.shape) == ((60_000, 784), (10_000, 784))
    assert np.bincount(data.y).tolist() == [6000] * 10
    assert np.bincount(data.test.y).tolist() == [1000] * 10
    assert (data.x.min(), data.x.max()) == (0.0, 1.0)
    assert data.label_names == fashion_mnist.LABEL_NAMES
    folder = next(DATA / s for s in ("", "fashion-mnist") if list((DATA / s).glob("t10k*")))
    rows = load(folder / "t10k-images-idx3-ubyte.gz")
    np.testing.assert_array_equal(rows.x, data.test.x)
    np.testing.assert_array_equal(rows.y, data.test.y)


# --- downloads -------------------------------------------------------------------------------


@pytest.fixture
def server():
    """Serve ``server.files``; ``server.say`` may cut, lengthen or delay an answer."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.lstrip("/")
            httpd.asked.append(name)
            content = httpd.files.get(name)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            if httpd.length is not None:
                self.send_header("Content-Length", str(len(content) + httpd.length))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_args):
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.files, httpd.asked, httpd.length = {}, [], 0
    httpd.address = f"http://127.0.0.1:{httpd.server_port}/"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield httpd
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """Keep requests to this machine on it, whatever proxies the environment names."""
    monkeypatch.setenv("no_proxy", "*")


def files_in(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("there", ["nothing", "train"])
def test_what_the_cache_lacks_is_downloaded_once_from_the_first_address_that_answers(
    small, server, tmp_path, monkeypatch, there
):
    server.files = small
    monkeypatch.setattr(fashion_mnist, "ADDRESSES", ("http://127.0.0.1:9/", server.address))
    cache = tmp_path / "cache" / "fastnet" / "fashion-mnist"
    some = {name: data for name, data in small.items() if name.startswith(there)}
    if some:
        put(cache, some)
    assert load("fashion-mnist").rows == 20
    assert load("fashion-mnist").rows == 20
    assert sorted(server.asked) == sorted(small.keys() - some.keys())
    assert files_in(cache) == sorted(small)
    if not some:  # then fastnet made the folders, for this user only
        for folder in (cache, cache.parent):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_without_a_network_the_error_says_what_to_do(small, monkeypatch):
    del small
    monkeypatch.setattr(fashion_mnist, "ADDRESSES", ("http://127.0.0.1:9/",))
    with pytest.raises(DataNotFoundError, match=r"could not be downloaded.*set FASTNET_DATA_DIR"):
        load("fashion-mnist")


def get(server, path, name="file.gz", **changes):
    expected = {"sha256": hashlib.sha256(b"content" * 100).hexdigest(), "size": 700}
    download([f"{server.address}{name}"], path, **(expected | changes), timeout=5)


@pytest.mark.parametrize("length", [0, None], ids=["with a length", "without"])
def test_a_right_file_is_put_in_place(server, tmp_path, length):
    server.files, server.length = {"file.gz": b"content" * 100}, length
    get(server, tmp_path / "new" / "file.gz")
    assert (tmp_path / "new" / "file.gz").read_bytes() == b"content" * 100
    assert files_in(tmp_path / "new") == ["file.gz"]


WRONG = {
    "other content": (b"cOntent" * 100, 0),
    "too long": (b"content" * 101, 0),
    "much too long": (b"content" * 100_000, None),
}
BROKEN_OFF = {
    "cut": (b"content" * 50, 350),
    "cut without a length": (b"content" * 50, None),
    "short": (b"content" * 50, 0),
    "empty": (b"", 0),
    "not found": (None, 0),
}


@pytest.mark.parametrize("kind", [*WRONG, *BROKEN_OFF])
def test_a_wrong_or_interrupted_download_leaves_nothing(server, tmp_path, kind):
    content, server.length = (WRONG | BROKEN_OFF)[kind]
    server.files = {"file.gz": content}
    expected = "not the expected file" if kind in WRONG else r"file\.gz could not be downloaded"
    with pytest.raises(DataError, match=expected) as caught:
        get(server, tmp_path / "file.gz")
    assert isinstance(caught.value, DataNotFoundError) == (kind in BROKEN_OFF)
    assert files_in(tmp_path) == []


def test_hardly_more_is_taken_than_was_expected(server, tmp_path, monkeypatch):
    taken = []
    server.files, server.length = {"file.gz": b"content" * 100_000}, None
    reply = http.client.HTTPResponse.read
    monkeypatch.setattr(
        http.client.HTTPResponse,
        "read",
        lambda self, size: taken.append(size) or reply(self, size),
    )
    with pytest.raises(DataError, match="not the expected file"):
        get(server, tmp_path / "file.gz")
    assert len(taken) == 1


def test_an_old_file_survives_a_failed_download(server, tmp_path):
    server.files = {"file.gz": b"wrong"}
    (tmp_path / "file.gz").write_bytes(b"old")
    with pytest.raises(DataError):
        get(server, tmp_path / "file.gz", size=5)
    assert (tmp_path / "file.gz").read_bytes() == b"old"


def test_pressing_ctrl_c_leaves_nothing(server, tmp_path, monkeypatch):
    server.files = {"file.gz": b"content" * 100}

    def interrupt(_handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        get(server, tmp_path / "file.gz")
    assert files_in(tmp_path) == []


def test_a_silent_server_is_given_up(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/file.gz"
        with pytest.raises(DataNotFoundError, match="timed out"):
            download([address], tmp_path / "file.gz", "0" * 64, 700, timeout=0.2)
    assert files_in(tmp_path) == []


def test_the_real_places_have_tls_and_the_sums_are_sha256():
    assert Path("/usr/share/datasets/fashion-mnist") == fashion_mnist.SYSTEM_FOLDER  # Debian's
    assert all(address.startswith("https://") for address in fashion_mnist.ADDRESSES)
    for file in fashion_mnist.FILES.values():
        assert len(bytes.fromhex(file.sha256_gz)) == 32
        assert len(bytes.fromhex(file.sha256_values)) == 32
