"""The folder of checkpoints: whatever the disk does, the last good one is there."""

from __future__ import annotations

import errno
import json
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save

import fastnet as fn
from fastnet.serialization import safetensors_file
from fastnet.training.checkpoints.folder import Folder
from fastnet.utils import files as disk_files

X = np.random.default_rng(0).standard_normal((20, 3))
Y = X @ [1.0, -1.0, 0.5]

posix = pytest.mark.skipif(os.name != "posix", reason="system calls and locks of POSIX")


def fit(folder: Path, **options: Any) -> fn.Network:
    net = fn.Network([3, 4, 1], activation="tanh", backend="numpy")
    net.fit(X, Y, **{"epochs": 4, "checkpoint": folder, "checkpoint_every": 1, **options})
    return net


def unpack(file: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    return safetensors_file.unpack(file, "fastnet-checkpoint", "checkpoint", "a test")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


# --- what is in the folder ------------------------------------------------------------------------


def test_the_folder_is_made_with_all_above_it(tmp_path: Path) -> None:
    folder = tmp_path / "a b" / "ä" / "run"
    fit(folder)
    assert [file.name for file in Folder(folder).files()] == [
        "checkpoint-0000000004.safetensors",
        "checkpoint-0000000003.safetensors",
    ]


def test_other_files_in_the_folder_are_left_alone(folder: Path) -> None:
    folder.mkdir()
    others = {"notes.txt": b"x", "checkpoint-1.safetensors": b"y", ".vimrc.tmp": b"z"}
    for name, content in others.items():
        (folder / name).write_bytes(content)
    fit(folder)
    fit(folder, epochs=6, resume=True)
    assert all((folder / name).read_bytes() == content for name, content in others.items())


def test_temporary_files_of_a_process_that_died_are_removed(folder: Path) -> None:
    fit(folder)
    (folder / ".0123456789abcdef.tmp").write_bytes(b"half a checkpoint")
    fit(folder, resume=True)
    assert not list(folder.glob(".*"))


def test_a_checkpoint_is_no_model_and_says_so(folder: Path) -> None:
    fit(folder)
    with pytest.raises(fn.ModelFileError, match="not a fastnet model"):
        fn.load(Folder(folder).files()[0])


def test_nothing_in_a_checkpoint_is_pickled(folder: Path) -> None:
    fit(folder, early_stopping=2, optimizer=fn.Adam(fn.schedules.ReduceOnPlateau(0.1)))
    content = Folder(folder).files()[0].read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    digest, text = header["__metadata__"]["fastnet-checkpoint"].split("\n")
    assert len(digest) == 64
    assert json.loads(text)["version"] == 1


def test_a_history_of_a_million_epochs_fits(folder: Path) -> None:
    fit(folder)
    file = Folder(folder).files()[0]
    description, tensors = unpack(file)
    for name in list(tensors):
        if name.startswith("history"):
            tensors[name] = np.resize(tensors[name], 10**6)
    tensors["history.epochs"] = np.arange(1, 10**6 + 1)
    file.write_bytes(safetensors_file.pack("fastnet-checkpoint", description, tensors))
    history = fit(folder, resume=True, epochs=10**6 + 1).history
    assert history is not None
    assert len(history["loss"]) == 10**6 + 1


# --- one run at a time ----------------------------------------------------------------------------


@posix
def test_a_second_run_in_the_same_folder_is_refused(folder: Path) -> None:
    def second(run: fn.Run) -> None:
        with pytest.raises(fn.CheckpointError, match="another run writes its checkpoints"):
            fit(folder, resume=True)

    fit(folder, callbacks=[second])
    fit(folder, resume=True)  # the lock is gone


@posix
def test_the_lock_is_gone_whatever_ended_the_run(folder: Path) -> None:
    def fail(run: fn.Run) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fit(folder, callbacks=[fail])
    fit(folder, resume=True)


@posix
def test_a_file_system_without_locks_will_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    fit(folder)
    assert len(Folder(folder).files()) == 2


def test_runs_in_several_threads_with_folders_of_their_own(tmp_path: Path) -> None:
    results: dict[int, bytes] = {}

    def work(number: int) -> None:
        results[number] = fit(tmp_path / str(number), epochs=20).parameters.tobytes()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == dict.fromkeys(
        range(4), fit(tmp_path / "alone", epochs=20).parameters.tobytes()
    )


# --- system calls ---------------------------------------------------------------------------------

CALLS = ("open", "fsync", "replace", "close")


class Disk:
    """Records the system calls of a save, and lets one of them fail.

    Attributes
    ----------
    calls : list of (name, what)
        ``what`` is "file" or "folder" for ``fsync``.
    fail_at : int or None
        The call that fails, counting from 0.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, str]] = []
        self.fail_at: int | None = None
        self.error = errno.ENOSPC
        for name in ("fsync", "replace"):
            monkeypatch.setattr(os, name, self._wrap(name, getattr(os, name)))
        monkeypatch.setattr(disk_files, "open", self._open, raising=False)

    def _note(self, name: str, what: str) -> None:
        self.calls.append((name, what))
        if self.fail_at == len(self.calls) - 1:
            raise OSError(self.error, os.strerror(self.error))

    def _wrap(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:
            what = "file"
            if name == "fsync" and os.path.isdir(f"/proc/self/fd/{arguments[0]}"):
                what = "folder"
            self._note(name, what)
            return call(*arguments)

        return wrapped

    def _open(self, *arguments: Any) -> Any:
        if "w" not in arguments[1]:
            return open(*arguments)
        self._note("open", "file")
        disk, file = self, open(*arguments)  # noqa: SIM115

        class Written:
            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: object) -> None:
                file.close()
                disk._note("close", "file")

            def write(self, content: bytes) -> None:
                half = len(content) // 2
                file.write(content[:half])
                file.flush()
                disk._note("write", "file")
                file.write(content[half:])

            def __getattr__(self, name: str) -> Any:
                return getattr(file, name)

        return Written()


SAVE = [
    ("open", "file"),
    ("write", "file"),
    ("fsync", "file"),
    ("close", "file"),
    ("replace", "file"),
    ("fsync", "folder"),
]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


on_linux = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="asks Linux's /proc")


@on_linux
def test_a_save_writes_syncs_renames_and_syncs_the_folder(disk: Disk, tmp_path: Path) -> None:
    disk_files.write_atomically(tmp_path / "x", b"content")
    assert disk.calls == SAVE


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@on_linux
@pytest.mark.parametrize(
    "error", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.EDQUOT]
)
@pytest.mark.parametrize("call", range(len(SAVE)), ids=lambda k: "-".join(SAVE[k]))
def test_a_save_that_fails_at_any_call_leaves_the_old_file_and_no_other(
    call: int, error: int, disk: Disk, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    disk.fail_at, disk.error = call, error
    with pytest.raises(fn.ModelFileError, match=os.strerror(error)) as caught:
        disk_files.write_atomically(path, b"new content")
    assert str(path) in str(caught.value)
    # When only the folder could not be synced, the new file is there already, and whole.
    expected = b"new content" if SAVE[call] == ("fsync", "folder") else b"old"
    assert contents(tmp_path) == {"x": expected}


@on_linux
@pytest.mark.parametrize("call", range(len(SAVE)), ids=lambda k: "-".join(SAVE[k]))
def test_training_goes_on_when_a_checkpoint_fails_at_any_call(
    call: int, disk: Disk, folder: Path
) -> None:
    alone = fit(folder.with_name("alone")).parameters.tobytes()

    class FailFromNowOn(fn.Callback):
        kept: dict[str, bytes]

        def on_epoch_end(self, run: fn.Run) -> None:
            if run.epoch == 3:
                self.kept = contents(folder)
            if run.epoch >= 3:
                disk.fail_at = len(disk.calls) + call

    fail = FailFromNowOn()
    with pytest.warns(fn.CheckpointWarning, match="No space left on device") as caught:
        net = fit(folder, callbacks=[fail])
    assert net.parameters.tobytes() == alone
    assert {str(w.message).split(":")[0] for w in caught} == {
        "no checkpoint was written, and training goes on"
    }
    now = contents(folder)
    assert all(now[name] == content for name, content in fail.kept.items() if name in now)
    for file in Folder(folder).files():
        unpack(file)
    disk.fail_at = None
    assert fit(folder, resume=True).parameters.tobytes() == alone


def test_a_folder_that_is_removed_is_a_warning(folder: Path) -> None:
    def remove(run: fn.Run) -> None:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()

    once = [remove]
    with pytest.warns(fn.CheckpointWarning, match="No such file or directory"):
        net = fit(folder, callbacks=[lambda run: once.pop()(run) if once else None])
    assert net.parameters.tobytes() == fit(folder).parameters.tobytes()


def test_no_memory_for_a_checkpoint_is_a_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*arguments: Any) -> bytes:
        raise MemoryError

    monkeypatch.setattr(safetensors_file, "pack", no_memory)
    with pytest.warns(fn.CheckpointWarning, match="out of memory"):
        fit(folder)


@pytest.mark.parametrize("place", ["file", "below a file", "nul", "long"])
def test_a_folder_that_cannot_be_made_is_an_error_before_training(
    place: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    folder = {
        "file": tmp_path / "file",
        "below a file": tmp_path / "file" / "run",
        "nul": tmp_path / "a\0b",
        "long": tmp_path / ("a" * 300),
    }[place]
    net = fn.Network([3, 1], backend="numpy")
    before = net.parameters.tobytes()
    with pytest.raises(fn.CheckpointError, match="checkpoints cannot be written to"):
        net.fit(X, Y, checkpoint=folder)
    assert net.parameters.tobytes() == before
    assert net.optimizer_state is None


def test_a_folder_that_cannot_be_written_to_is_an_error_before_training(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *arguments: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(fn.CheckpointError, match="Read-only file system"):
        fit(folder)


@posix
def test_a_real_limit_on_the_size_of_files_is_a_warning(folder: Path) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.warns(fn.CheckpointWarning, match="File too large"):
            fit(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(folder.iterdir()) == []


# --- damage ---------------------------------------------------------------------------------------


@pytest.fixture
def files(folder: Path) -> list[Path]:
    """Two checkpoints, the newest first."""
    fit(folder, early_stopping=3, optimizer=fn.Adam(fn.schedules.ReduceOnPlateau(0.1)))
    return Folder(folder).files()


def resume(folder: Path) -> fn.Network:
    plateau = fn.Adam(fn.schedules.ReduceOnPlateau(0.1))
    return fit(folder, early_stopping=3, optimizer=plateau, resume=True, epochs=6)


@pytest.mark.parametrize("damage", [b"", b"x", bytes(3000)], ids=["empty", "short", "zeros"])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(
    damage: bytes, files: list[Path], folder: Path
) -> None:
    whole = resume(folder).parameters.tobytes()
    newest = Folder(folder).files()[0]
    newest.write_bytes(damage)
    with pytest.warns(fn.CheckpointWarning, match=f"{newest.name}.*the one before"):
        assert resume(folder).parameters.tobytes() == whole


def test_when_all_are_damaged_nothing_is_overwritten(files: list[Path], folder: Path) -> None:
    for file in files:
        file.write_bytes(file.read_bytes()[:-1])
    before = contents(folder)
    with pytest.raises(fn.CheckpointError, match="nothing to go on from") as caught:
        resume(folder)
    assert all(file.name in str(caught.value) for file in files)
    assert contents(folder) == before


def test_every_flipped_bit_is_noticed(files: list[Path], folder: Path) -> None:
    content = files[0].read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    for place in range(start, len(content), 23):
        data = bytearray(content)
        data[place] ^= 1
        files[0].write_bytes(bytes(data))
        with pytest.raises(fn.ModelFileError, match="damaged"):
            unpack(files[0])


def setting(**values: Any) -> Callable[[dict[str, Any], dict[str, Any]], Any]:
    return lambda description, tensors: description.update(values)


def tensor(name: str, value: Any) -> Callable[[dict[str, Any], dict[str, Any]], Any]:
    return lambda description, tensors: tensors.update({name: np.array(value)})


def without(name: str) -> Callable[[dict[str, Any], dict[str, Any]], Any]:
    return lambda description, tensors: (description if name in description else tensors).pop(name)


P = 3 * 4 + 4 + 4 + 1

FORGED: dict[str, Callable[[dict[str, Any], dict[str, Any]], Any]] = {
    "no version": without("version"),
    "another version": setting(version=2),
    "version of another type": setting(version="1"),
    "no basis": without("basis"),
    "basis of another type": setting(basis=[1]),
    "surroundings of another type": setting(surroundings="x"),
    "no clocks": without("clocks"),
    "a clock below 0": setting(clocks={"step": -1, "epoch": 0, "updates": 0, "schedule_epoch": 0}),
    "a clock that is a text": setting(
        clocks={"step": "1", "epoch": 0, "updates": 0, "schedule_epoch": 0}
    ),
    "a huge clock": setting(clocks={"step": 2**70, "epoch": 0, "updates": 0, "schedule_epoch": 0}),
    "a clock missing": setting(clocks={"step": 1}),
    "no sums": setting(done=[]),
    "sums that are texts": setting(done=["a", "b", "c", 0]),
    "sums that are not finite": setting(done=[float("nan"), 0.0, 0.0, 0]),
    "more batches than there are": setting(done=[0.0, 0.0, 0.0, 10**6]),
    "stopped by a number": setting(stopped=3),
    "history of another type": setting(history=3),
    "history with too many names": setting(history=["a"] * 10),
    "history without its names": setting(history=[]),
    "history that is not numbers": tensor("history.0", [1, 2]),
    "epochs that are not whole": tensor("history.epochs", [1.0, 2.0]),
    "epochs of two axes": tensor("history.epochs", [[1], [2]]),
    "no seconds": without("seconds"),
    "seconds that are not finite": setting(seconds=float("inf")),
    "plateau of another type": setting(plateau=1),
    "plateau without best": setting(plateau={"waited": 0, "reductions": 0}),
    "plateau with NaN": setting(plateau={"best": float("nan"), "waited": 0, "reductions": 0}),
    "memories of another type": setting(memories={"a": 1}),
    "memories that are no triples": setting(memories=[["EarlyStopping"]]),
    "memory of another type": setting(memories=[["EarlyStopping", 3, []]]),
    "memory with arrays that are not there": setting(memories=[["EarlyStopping", {}, ["w"]]]),
    "no parameters": without("parameters"),
    "parameters of another size": tensor("parameters", np.zeros(P + 1, np.float32)),
    "parameters of another type": tensor("parameters", np.zeros(P)),
    "parameters that are not finite": tensor("parameters", np.full(P, np.nan, np.float32)),
    "good parameters of another size": tensor("good_parameters", np.zeros(1, np.float32)),
    "moments of another shape": tensor("moments", np.zeros((1, P), np.float32)),
    "no statistics": without("statistics"),
    "a tensor too many": tensor("x", np.zeros(3)),
}


@pytest.fixture
def plain(folder: Path) -> Path:
    """The only checkpoint of a run."""
    fit(folder, checkpoint_every="1h", early_stopping=3)
    return Folder(folder).files()[0]


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_forged_checkpoint_is_refused_and_changes_nothing(
    forge: Callable[..., Any], plain: Path, folder: Path
) -> None:
    description, tensors = unpack(plain)
    forge(description, tensors)
    text = json.dumps(description)
    metadata = {"fastnet-checkpoint": f"{safetensors_file.checksum(text, tensors)}\n{text}"}
    plain.write_bytes(save(tensors, metadata=metadata))
    net = fn.Network([3, 4, 1], activation="tanh", backend="numpy")
    before = net.parameters.tobytes()
    with pytest.raises((fn.CheckpointError, fn.InputError)) as caught:
        net.fit(X, Y, epochs=9, early_stopping=3, checkpoint=folder, resume=True)
    assert str(folder) in str(caught.value)
    assert net.parameters.tobytes() == before


MEMORIES: dict[str, dict[str, Any]] = {
    "empty": {},
    "best is a text": {"best": "x"},
    "waited is a text": {"waited": "x"},
    "waited is below 0": {"waited": -1},
    "weights of another size": {"parameters": np.zeros(3, np.float32)},
    "weights of another type": {"parameters": np.zeros(P)},
    "no statistics": {"statistics": None},
    "best epoch is a text": {"best_epoch": "x"},
}


@pytest.mark.parametrize("change", MEMORIES.values(), ids=MEMORIES)
def test_a_forged_memory_of_early_stopping_is_refused(
    change: dict[str, Any], plain: Path, folder: Path
) -> None:
    description, tensors = unpack(plain)
    name, values, arrays = description["memories"][0]
    values = {**values, **{k: v for k, v in change.items() if not isinstance(v, np.ndarray)}}
    values = values if change else {}
    for key, value in change.items():
        if isinstance(value, np.ndarray):
            tensors[f"memory.0.{key}"] = value
    if change.get("statistics", 0) is None:
        arrays = ["parameters"]
        del tensors["memory.0.statistics"]
    description["memories"] = [[name, values, arrays]]
    plain.write_bytes(safetensors_file.pack("fastnet-checkpoint", description, tensors))
    net = fn.Network([3, 4, 1], activation="tanh", backend="numpy")
    before = net.parameters.tobytes()
    with pytest.raises(fn.FastNetError, match="EarlyStopping cannot go on"):
        net.fit(X, Y, epochs=9, early_stopping=3, checkpoint=folder, resume=True)
    assert net.parameters.tobytes() == before


@pytest.fixture(autouse=True)
def every_warning_counts() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
