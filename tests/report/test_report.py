"""The page of a training, and the pictures: what is in them is what was measured."""

from __future__ import annotations

import io
import re
import shlex
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

import fastnet as fn
from fastnet.plotting import SUFFIXES, plot_history, plot_predictions
from fastnet.preprocessing.outputs import OutputSchema
from fastnet.preprocessing.target import TableTarget
from fastnet.report import figures, measures, svg
from fastnet.report.html import Shown, document, page, table
from tests.cli.calling import run, succeed
from tests.html_pages import PHONE, Page, browse, needs_chromium, widths_on_a_phone

RNG = np.random.default_rng(0)
ODD = "<script>alert('\"&')</script>"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def houses(folder: Path) -> Path:
    """A table of numbers, whose target has a name that is no friend of HTML."""
    x = RNG.uniform(-2, 2, (300, 2))
    y = x[:, 0] - x[:, 1] + 0.1 * RNG.normal(size=300)
    quoted = '"' + ODD.replace('"', '""') + '"'
    rows = "\n".join(",".join(map(str, row)) for row in np.c_[x, y])
    (folder / "houses.csv").write_text(f"a,b,{quoted}\n{rows}\n")
    return folder / "houses.csv"


# --- what is drawn --------------------------------------------------------------------------------


def test_confusion_counts_classes_and_answers() -> None:
    truth = np.array([0, 0, 0, 1, 2, 2])
    output = np.eye(3)[[0, 1, 1, 1, 2, 0]]
    found = measures.confusion(truth, output, ("a", "b", "c"))
    assert found.counts.tolist() == [[1, 2, 0], [0, 1, 0], [1, 0, 1]]
    assert found.shares[2].tolist() == [0.5, 0, 0.5]
    assert found.mistakes(1) == [("a", "b", 2)]
    assert found.mistakes(9) == [("a", "b", 2), ("c", "a", 1)]


def test_one_yes_or_no_output_is_two_classes() -> None:
    found = measures.confusion(
        np.array([[1.0], [1.0], [0.0]]), np.array([[0.9], [0.5], [0.2]]), ("no", "yes")
    )
    assert found.counts.tolist() == [[1, 0], [1, 1]]


def test_calibration_is_by_bins_of_a_tenth() -> None:
    output = np.array([[0.95, 0.05], [0.91, 0.09], [0.45, 0.55], [0.3, 0.7]])
    found = measures.calibration(np.array([0, 1, 1, 1]), output)
    assert found.sure == pytest.approx([0.55, 0.7, 0.93])
    assert found.right == pytest.approx([1, 1, 0.5])
    assert found.fraction == pytest.approx([0.25, 0.25, 0.5])


def test_residuals_have_quantiles_and_what_the_network_said_of_itself() -> None:
    net = fn.Network([1, 2], dtype="float64", backend="numpy")
    net.loss, net.parameters = fn.losses.GaussianNLL(), [0.0, 0.0, 5.0, 0.0]
    noise = np.random.default_rng(3).normal(size=2000)
    (found,) = measures.residuals(net.output_schema, 5 + noise, net.predict(np.zeros((2000, 1))))
    within = {name: (expected, share) for name, expected, share in found.covered}
    assert list(within) == ["within 1 standard deviations", "within 2 standard deviations"]
    for expected, share in within.values():
        assert share == pytest.approx(expected, abs=0.03)
    assert found.quantiles.mean(axis=0) == pytest.approx([-1.28, 0, 1.28], abs=0.1)
    net = fn.Network([1, 3], dtype="float64", backend="numpy")
    net.loss, net.parameters = fn.losses.Quantile(), [0.0, 0.0, 0.0, -1.0, 0.0, 1.0]
    (found,) = measures.residuals(net.output_schema, noise, net.predict(np.zeros((2000, 1))))
    assert (found.prediction == 0).all()  # the median
    shares = [share for _, _, share in found.covered]
    assert shares == [(noise <= bound).mean() for bound in (-1, 0, 1)]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (-0.3, 2.2, [0, 0.5, 1, 1.5, 2]),
        (1, 60, [10, 20, 30, 40, 50, 60]), (1e-12, 5e-12, [1e-12, 2e-12, 3e-12, 4e-12, 5e-12]),
    ],
)  # fmt: skip
def test_marks_are_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert svg.steps(low, high) == pytest.approx(expected)


def test_marks_of_a_logarithmic_axis_are_powers() -> None:
    assert svg.decades(0.0009, 1.2) == pytest.approx([0.001, 0.01, 0.1, 1])
    assert svg.decades(0.9, 40) == pytest.approx([1, 2, 5, 10, 20])


def test_an_axis_shows_every_value() -> None:
    for values in ([0.0, 3.0], [5.0], [-1e9, 1e9], [2.0, float("nan"), float("inf")], []):
        scale = svg.around(np.array(values), 10, 110)
        assert all(10 <= scale(v) <= 110 for v in values if np.isfinite(v))
    scale = svg.around(np.array([1e-6, 1.0]), 110, 10, logarithmic=True)
    assert scale(1e-3) == pytest.approx(60)


@pytest.mark.parametrize("count", [1, 2, 5, 5000])
@pytest.mark.parametrize("values", ["falling", "constant", "no numbers", "spikes"])
def test_curves_of_every_kind_are_well_formed(count: int, values: str) -> None:
    found = {
        "falling": np.geomspace(1, 1e-5, count),
        "constant": np.ones(count),
        "no numbers": np.full(count, np.nan),
        "spikes": np.where(np.arange(count) % 1000 == 77, 50.0, 1.0),
    }[values].tolist()
    curve = measures.Curve("loss", list(range(1, count + 1)), found, found, 1)
    (panel,) = figures.panels(curve)
    chart = svg.draw(panel)
    root = ET.fromstring(chart)
    assert "nan" not in chart
    assert len(chart) < 40_000
    lines = [line.get("points") or "" for line in root.iter("polyline")]
    places = [tuple(map(float, p.split(","))) for line in lines for p in line.split()]
    assert all(0 <= x <= svg.WIDTH and 0 <= y <= svg.HEIGHT for x, y in places)
    if values == "spikes" and count == 5000:  # thinned out, and none of them lost
        top = min(y for _, y in places)
        assert sum(y == top for _, y in places) == 2 * 5


# --- the page -------------------------------------------------------------------------------------


def test_a_page_of_classes_has_what_was_measured(folder: Path) -> None:
    command = ["train", "digits", "--hidden", "16,8", "--epochs", 12, "--validation", 0.2,
               "--metric", "f1", "--metric", "recall", "--no-standardize", "--backend", "numpy",
               "--html", "a page.html", "--quiet"]  # fmt: skip
    text = succeed(*command)
    assert "report a page.html" in text
    found = Page((folder / "a page.html").read_text("utf-8"))
    content = " ".join(" ".join(found.texts).split())
    results = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("test "))
    assert float(results["test accuracy"]) > 0.5
    for value in results.values():
        assert f"{float(value):.4f}".rstrip("0") in content
    net = fn.load("model.safetensors", backend="numpy")
    data = fn.data.load("digits").test
    assert data is not None
    counts = measures.confusion(data.y, net.predict(data.x), tuple("0123456789")).counts
    cells = re.findall(r"<td class=\"[^\"]*\" style=\"--share[^>]*>(\d+)</td>",
                       (folder / "a page.html").read_text("utf-8"))  # fmt: skip
    assert [int(cell) for cell in cells] == counts.ravel().tolist()
    assert [tag for tag, _ in found.tags].count(
        "svg"
    ) == 5  # loss, accuracy, f1, recall, calibration
    assert "64 -> 16" in content
    # The command is the one that was given: run again, it gives the same model and page.
    words = "".join(found.texts).split("Command")[1].split("Results")[0]
    again = shlex.split(words)
    assert again[:2] == ["fastnet", "train"]
    assert sorted(again[2:]) == sorted(str(word) for word in command[1:])
    before = (folder / "model.safetensors").read_bytes()
    succeed(*again[1:])
    assert (folder / "model.safetensors").read_bytes() == before


def test_a_page_of_numbers_escapes_every_name(folder: Path, houses: Path) -> None:
    succeed("train", houses, "--target", ODD, "--hidden", "none", "--loss", "quantile",
            "--epochs", 3, "--validation", 0.3, "--backend", "numpy", "--html", "p.html",
            "--quiet")  # fmt: skip
    found = Page((folder / "p.html").read_text("utf-8"))
    assert "script" not in dict(found.tags)
    content = " ".join(found.texts)
    assert ODD in content
    assert "90 validation rows" in content
    assert "below the quantile 0.1" in content
    assert [tag for tag, _ in found.tags].count("svg") == 3  # loss, predictions, residuals


def test_training_rows_are_shown_as_what_they_are(folder: Path, houses: Path) -> None:
    succeed("train", houses, "--target", ODD, "--epochs", 2, "--backend", "numpy", "--html",
            "p.html", "--quiet")  # fmt: skip
    assert "300 training rows, as none were held back" in (folder / "p.html").read_text("utf-8")


def test_a_training_without_one_epoch_has_a_page_too() -> None:
    net = fn.Network([2, 2], output_activation="softmax", backend="numpy")
    shown = Shown("4 rows", np.array([0, 1, 0, 1]), net.predict(np.zeros((4, 2))))
    text = page(
        net.plan, net.output_schema, title="t", command="c", about=[], epochs=[], records={},
        best_epoch=None, tested={}, shown=shown,
    )  # fmt: skip
    assert "before any epoch" in "".join(Page(text).texts)


def test_a_page_needs_nothing_but_itself(folder: Path) -> None:
    succeed("train", "digits", "--epochs", 2, "--backend", "numpy", "--html", "p.html", "--quiet")
    text = (folder / "p.html").read_text("utf-8")
    found = Page(text)
    assert {"script", "link", "img", "iframe", "object"}.isdisjoint(dict(found.tags))
    assert not any({"src", "href"} & set(attributes) for _, attributes in found.tags)
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text


def test_what_is_wider_than_a_phone_scrolls_in_a_box(folder: Path, houses: Path) -> None:
    for data in ("digits", houses):
        text = trained_page(folder, data)
        assert Page(text).unboxed == []
        assert len(Page(text.replace('class="wide"', "")).unboxed) >= 2
        assert Page(text.replace('class="charts"', "")).unboxed
    assert ".wide { overflow-x: auto;" in text


def trained_page(folder: Path, data: object) -> str:
    """Return the page of a short training."""
    target = [] if data == "digits" else ["--target", ODD, "--loss", "quantile"]
    succeed("train", data, *target, "--epochs", 3, "--backend", "numpy", "--html", "p.html",
            "--quiet")  # fmt: skip
    return (folder / "p.html").read_text("utf-8")


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it_without_a_complaint(folder: Path, scheme: str) -> None:
    trained_page(folder, "digits")
    setting = f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}"
    done = browse(folder, folder / "p.html", "--enable-logging=stderr", "--window-size=900,1200",
                  setting, "--screenshot=p.png")  # fmt: skip
    assert "CONSOLE" not in done.stderr
    matplotlib_image = pytest.importorskip("matplotlib.image")
    picture = matplotlib_image.imread(folder / "p.png")[..., :3]
    corner = picture[2, 2].mean()
    assert corner > 0.9 if scheme == "light" else corner < 0.15
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


@needs_chromium
def test_a_browser_finds_no_page_wider_than_a_phone(folder: Path, houses: Path) -> None:
    pages = [trained_page(folder, data) for data in ("digits", houses)]
    pages.append(document("x" * 300, [table(["a" * 100], [["b" * 100]])]))
    *found, spoilt = widths_on_a_phone(folder, *pages, pages[-1].replace('class="wide"', ""))
    assert found == [PHONE] * 3
    assert spoilt > PHONE


# None of these is a formula, markup, or longer than there is room for.
ODD_NAMES = (
    *("$", "$x^$", r"\frac{$", "_a", "", "\x00\x1b", "\ud800", "a\nb", "<b>&amp;", "n" * 99),
)


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_a_page_shows_odd_names_as_they_are(name: str) -> None:
    net, values = fn.Network([1, 1], backend="numpy"), np.linspace(0, 1, 20)
    target = TableTarget((name,), None, np.zeros(1), np.ones(1))
    text = page(
        net.plan, OutputSchema(1, "identity", target=target),
        title=name, command=name, about=[(name, name)], epochs=[1], records={name: [2.0]},
        best_epoch=1, tested={name: 1.0}, shown=Shown(name, values, values[:, None]),
    )  # fmt: skip
    text.encode()
    texts = Page(text).texts
    assert texts.count(figures.plain(name)) >= (4 if name else 0)
    assert {"b", "frac"}.isdisjoint(tag for tag, _ in Page(text).tags)


# --- matplotlib -----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_odd_names_are_drawn_as_they_are(suffix: str, tmp_path: Path) -> None:
    count = len(ODD_NAMES)
    confusion = measures.Confusion(ODD_NAMES, np.eye(count, dtype=np.int64))
    curves = [measures.Curve(name, [1, 2], [2.0, 1.0], None, None) for name in ODD_NAMES]
    shown = [confusion, *(panel for curve in curves for panel in figures.panels(curve))]
    figure = figures.draw(shown, tmp_path / f"p{suffix}")
    classes = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert classes == [figures.short_name(name, 24) for name in ODD_NAMES]
    titles = [axis.get_title() for axis in figure.axes[1 : 1 + count]]
    assert titles == [figures.short_name(n).replace("_", " ").strip() for n in ODD_NAMES]
    assert (tmp_path / f"p{suffix}").stat().st_size > 1000


def test_matplotlib_would_take_a_dollar_for_a_formula() -> None:
    figure = figures.draw([])
    figure.axes[0].set_title("$x^$")
    with pytest.raises(ValueError, match="Expected"):
        figure.savefig(io.BytesIO())


def test_every_kind_of_series_is_drawn_by_both() -> None:
    kinds = "line", "points", "rings", "bars"
    series = [figures.Series(kind, [1.0, 2.0], [3.0, 4.0], "lead", kind) for kind in kinds]
    panel = figures.Panel("t", figures.Axis("x"), figures.Axis("y"), series)
    (axis,) = figures.draw([panel]).axes
    assert (len(axis.lines), len(axis.collections), len(axis.patches)) == (2, 1, 2)
    assert [text.get_text() for text in axis.get_legend().get_texts()] == list(kinds)
    root = ET.fromstring(svg.draw(panel))
    marks = [node.get("class") for node in root.iter() if "lead" in (node.get("class") or "")]
    assert marks.count("line lead") == 2  # one in the legend
    assert marks.count("mark lead") == marks.count("ring lead") * 2 == 6


def test_without_matplotlib_pictures_say_so_and_pages_are_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(fn.FastNetError, match=r"pip install 'fastnet-mlp\[plot\]'"):
        history().plot()
    assert "<svg" in trained_page(folder, "digits")


def history(epochs: int = 4) -> fn.History:
    found = fn.History()
    for k in range(1, epochs + 1):
        found.append(k, {"loss": 10.0**-k, "val_loss": 1.1 * 10.0**-k, "accuracy": k / 9})
    found.best_epoch = epochs
    return found


def test_a_loss_over_decades_has_a_logarithmic_axis() -> None:
    figure = plot_history(history())
    loss, accuracy = figure.axes
    assert (loss.get_yscale(), accuracy.get_yscale()) == ("log", "linear")
    drawn = {line.get_label(): list(line.get_ydata()) for line in loss.lines[:2]}
    assert drawn == {"training": history()["loss"], "validation": history()["val_loss"]}


def test_classes_are_drawn_as_confusion_and_calibration(tmp_path: Path) -> None:
    net = fn.Network([2, 3], output_activation="softmax", seed=1, backend="numpy")
    net.label_names = ("red", "green", "blue")
    x, y = RNG.normal(size=(50, 2)), RNG.integers(0, 3, 50)
    figure = plot_predictions(net, x, y, tmp_path / "p.svg")
    confusion, calibration = figure.axes[:2]
    shown = [int(text.get_text()) for text in confusion.texts]
    expected = measures.confusion(y, net.predict(x), net.label_names).counts
    assert shown == expected.ravel().tolist()
    assert [label.get_text() for label in confusion.get_xticklabels()] == list(net.label_names)
    assert calibration.get_title().startswith("calibration, error ")
    assert ET.parse(tmp_path / "p.svg").getroot().tag.endswith("svg")


def test_numbers_are_drawn_as_predictions_and_residuals_of_every_target(tmp_path: Path) -> None:
    net = fn.Network([2, 2], backend="numpy")
    x, y = RNG.normal(size=(100, 2)), RNG.normal(size=(100, 2))
    figure = plot_predictions(net, x, y, tmp_path / "p.png")
    assert len(figure.axes) == 4
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    residuals = figure.axes[1]
    points = residuals.collections[0].get_offsets()
    assert np.asarray(points[:, 1]) == pytest.approx(y[:, 0] - net.predict(x)[:, 0])
    assert len(residuals.lines) == len(measures.RESIDUAL_QUANTILES)


def test_several_yes_or_no_answers_have_no_confusion_matrix() -> None:
    net = fn.Network([2, 3], output_activation="sigmoid", backend="numpy")
    net.loss = fn.losses.BinaryCrossEntropy()
    figure = plot_predictions(net, RNG.normal(size=(9, 2)), RNG.integers(0, 2, (9, 3)))
    assert [axis.get_title()[:11] for axis in figure.axes] == ["calibration"]


def test_one_answer_without_names_is_no_or_yes() -> None:
    net = fn.Network([2, 1], output_activation="sigmoid", backend="numpy")
    net.loss = fn.losses.BinaryCrossEntropy()
    figure = plot_predictions(net, RNG.normal(size=(9, 2)), RNG.integers(0, 2, 9))
    labels = figure.axes[0].get_xticklabels()
    assert [label.get_text() for label in labels] == ["no", "yes"]


def test_the_command_plot_draws_histories_and_models(folder: Path) -> None:
    succeed("train", "digits", "--hidden", "8", "--epochs", 3, "--backend", "numpy", "--quiet",
            "--log", "run.jsonl")  # fmt: skip
    assert fn.History.read("run.jsonl").epochs == [1, 2, 3]
    assert succeed("plot", "run.jsonl").startswith("run.png: ")
    succeed("plot", "run.jsonl", "--out", "log.svg")
    succeed("plot", "model.safetensors", "digits", "--backend", "numpy", "--out", "model.png")
    for name in ("run.png", "model.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    assert ET.parse(folder / "log.svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["m.safetensors"], "a model is drawn on DATA"),
        (["run.jsonl", "digits"], "a log is drawn without DATA"),
        (["run.jsonl", "--out", "p.gif"], "expected a file that ends in .png or .svg or .pdf"),
    ],
)
def test_plot_says_what_it_needs(folder: Path, arguments: list[str], message: str) -> None:
    result = run("plot", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize("option", ["--html", "--log"])
def test_files_to_be_written_are_checked_before_training(folder: Path, option: str) -> None:
    result = run("train", "digits", "--html", "run.html", "--log", "run.html")
    assert result.exit_code == 2
    assert "must all be different files" in result.stderr
    result = run("train", "digits", option, folder / "nowhere" / "run.html")
    assert result.exit_code == 1
    assert f"{option}: there is no folder" in result.stderr
