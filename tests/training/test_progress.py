"""What ``verbose`` shows on a terminal, in a notebook and elsewhere."""

from __future__ import annotations

import io
import sys
import types
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.training import progress
from fastnet.training.progress import Bar, LiveLine

X = np.random.default_rng(3).standard_normal((24, 2))
Y = X @ [1.0, -2.0]


def train(epochs: int = 4, **options: Any) -> fn.History:
    net = fn.Network([2, 3, 1], backend="numpy")
    return net.fit(X, Y, epochs=epochs, batch_size=8, **options)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """An IPython module as the kernel of a notebook has loaded it."""
    ipython: Any = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", ipython)


def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Make standard error a terminal; from within a test, as pytest sets it between fixtures."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return stream


# --- lines ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", [None, "1"])
@pytest.mark.parametrize(
    ("verbose", "epochs"),
    [
        (False, []),
        (0, []),
        (True, [1, 2, 3, 4, 5]),
        (1, [1, 2, 3, 4, 5]),
        (2, [1, 2, 4, 5]),
        (np.int64(3), [1, 3, 5]),
        (9, [1, 5]),
    ],
)
def test_without_a_terminal_epochs_have_lines(
    verbose: Any,
    epochs: list[int],
    colour: str | None,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    if colour is not None:
        monkeypatch.setenv("FORCE_COLOR", colour)
    history = train(5, verbose=verbose, validation_split=0.25)
    out, err = capfd.readouterr()
    losses = zip(
        history["loss"], history["r2"], history["val_loss"], history["val_r2"], strict=True
    )
    said = [
        f"epoch {epoch}/5: loss {a:.4g}, r2 {b:.4g}, val_loss {c:.4g}, val_r2 {d:.4g}"
        for epoch, (a, b, c, d) in enumerate(losses, 1)
    ]
    assert (out, err.splitlines()) == ("", [said[epoch - 1] for epoch in epochs])


def test_the_last_line_is_that_of_the_epoch_that_ended_training(
    capfd: pytest.CaptureFixture[str],
) -> None:
    train(9, verbose=5, callbacks=[lambda run: run.stop() if run.epoch == 3 else None])
    lines = capfd.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1/9", "epoch 3/9"]


@pytest.mark.parametrize("verbose", [-1, 1.5, "yes", None])
def test_other_values_are_refused(verbose: Any) -> None:
    with pytest.raises(fn.InputError, match="verbose must be a whole number of at least 0"):
        train(verbose=verbose)


@pytest.mark.parametrize("stream", [None, types.SimpleNamespace(write=str, flush=bool)])
def test_a_process_without_standard_error_trains(
    stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", stream)
    assert len(train(verbose=True).epochs) == 4


# --- a terminal -----------------------------------------------------------------------------------


def test_on_a_terminal_a_bar_shows_epochs_and_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal(monkeypatch)

    class Refresh(fn.Callback):
        def on_epoch_end(self, run: fn.Run) -> None:
            bar._bar.refresh()

    bar = progress.progress(True)
    assert isinstance(bar, Bar)
    train(2, callbacks=[bar, Refresh()])
    shown = stream.getvalue()
    for part in ("1/2", "2/2", "loss"):
        assert part in shown
    assert bar._bar is None


def test_a_terminal_that_cannot_move_its_cursor_has_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = terminal(monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    train(2, verbose=True, callbacks=[Bar()])
    assert [line.split(":")[0] for line in stream.getvalue().splitlines()] == [
        "epoch 1/2",
        "epoch 2/2",
    ]


# --- a notebook -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("notebook")
def test_in_a_notebook_one_line_changes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    history = train(3, verbose=True)
    out, err = capsys.readouterr()
    assert (err, out.count("\n"), out[-1]) == ("", 1, "\n")
    shown = [text.strip() for text in out.split("\r") if ":" in text]
    assert shown[-1] == f"epoch 3/3: loss {history['loss'][-1]:.4g}, r2 {history['r2'][-1]:.4g}"
    assert any(text.startswith("epoch 2/3: ") for text in shown)


@pytest.mark.usefixtures("notebook")
def test_the_line_does_not_change_more_often_than_can_be_seen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS", 1e6)
    train(50, verbose=True)
    assert capsys.readouterr().out.count("\r") <= 2


def test_a_line_shows_how_much_of_a_long_epoch_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    line = LiveLine()
    run = fn.Run(fn.Network([2, 1], backend="numpy"), fn.History(), 2, 8, epoch=1, batch=2)
    line.on_train_begin(run)
    line.on_progress(run)
    assert capsys.readouterr().out == "\repoch 1/2, 25% of it done; "


def test_ipython_in_a_terminal_is_no_notebook(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal(monkeypatch)
    ipython: Any = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert isinstance(progress.progress(True), Bar)
