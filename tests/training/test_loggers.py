"""What callbacks write while training runs: JSON lines and TensorBoard's events."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn

X = np.random.default_rng(0).standard_normal((40, 3))
Y = X @ [1.0, -1.0, 0.5]


def train(*callbacks: Any, epochs: int = 3, **options: Any) -> fn.History:
    net = fn.Network([3, 4, 1], backend="numpy")
    return net.fit(X, Y, epochs=epochs, validation_split=0.25, callbacks=callbacks, **options)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_epoch_is_a_line_of_json(tmp_path: Path) -> None:
    history = train(fn.JsonLines(tmp_path / "run.jsonl"))
    written = lines(tmp_path / "run.jsonl")
    assert [line["epoch"] for line in written] == [1, 2, 3]
    for name, values in history.items():
        assert [line[name] for line in written] == values


def test_a_line_is_there_when_its_epoch_ends(tmp_path: Path) -> None:
    seen = []
    train(fn.JsonLines(tmp_path / "run.jsonl"), lambda run: seen.append(
        len(lines(tmp_path / "run.jsonl"))))  # fmt: skip
    assert seen == [1, 2, 3]


def test_a_file_is_replaced_unless_it_is_to_be_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    train(fn.JsonLines(path))
    train(fn.JsonLines(path), epochs=2)
    assert len(lines(path)) == 2
    train(fn.JsonLines(path, append=True))
    assert len(lines(path)) == 5


def test_what_is_not_finite_is_null_and_comes_back_as_no_number(tmp_path: Path) -> None:
    def odd(target: Any, output: Any) -> float:
        return float("inf")

    train(fn.JsonLines(tmp_path / "run.jsonl"), metrics=[odd])
    assert lines(tmp_path / "run.jsonl")[0]["val_odd"] is None
    assert np.isnan(fn.History.read(tmp_path / "run.jsonl")["val_odd"]).all()


def test_the_file_is_closed_when_training_fails(tmp_path: Path) -> None:
    logger = fn.JsonLines(tmp_path / "run.jsonl")

    def fail(run: fn.Run) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        train(logger, fail)
    assert logger._file is None
    assert len(lines(tmp_path / "run.jsonl")) == 1


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(fn.InputError, match="run.jsonl cannot be written: No such file"):
        train(fn.JsonLines(tmp_path / "nowhere" / "run.jsonl"))


def test_a_log_is_read_as_the_history_it_was(tmp_path: Path) -> None:
    history = train(fn.JsonLines(tmp_path / "run.jsonl"))
    again = fn.History.read(tmp_path / "run.jsonl")
    assert (again.epochs, again.records) == (history.epochs, history.records)


@pytest.mark.parametrize(
    "text",
    [
        "[1]", "{}", "nothing", '{"loss": 1}', '{"epoch": 1, "loss": "x"}',
        '{"epochs": [1], "records": {"loss": [1]}, "seconds": 1, "best_epoch": null}',
    ],
)  # fmt: skip
def test_what_is_no_log_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(fn.DataError, match="is no log of a training"):
        fn.History.read(tmp_path / "a.jsonl")
    with pytest.raises(fn.DataError, match="cannot be read"):
        fn.History.read(tmp_path / "nothing.jsonl")


# --- TensorBoard ----------------------------------------------------------------------------------


def events(folder: Path) -> list[tuple[str, int, float]]:
    """Return tag, step and value of every scalar in the event files of a folder."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.glob("events.*")):
        content, at = path.read_bytes(), 0
        while at < len(content):  # a record: length, checksum of it, bytes, checksum of those
            (length,) = struct.unpack_from("<Q", content, at)
            event = Event.FromString(content[at + 12 : at + 12 + length])
            at += length + 16
            found += [(v.tag, event.step, v.simple_value) for v in event.summary.value]
    return found


def test_tensorboard_has_every_metric_of_every_epoch(tmp_path: Path) -> None:
    history = train(fn.TensorBoard(tmp_path / "run"))
    found = events(tmp_path / "run")
    tags = {
        "loss": "loss/training", "r2": "r2/training", "val_loss": "loss/validation",
        "val_r2": "r2/validation", "learning_rate": "learning_rate",
    }  # fmt: skip
    assert set(tags) == set(history)
    assert len(found) == 15
    for name, tag in tags.items():
        series = [(step, value) for t, step, value in found if t == tag]
        assert [step for step, _ in series] == [1, 2, 3]
        assert [value for _, value in series] == pytest.approx(history[name], rel=1e-6)
