"""Ensembles: the mean of their members, in memory and from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet as fn
from fastnet.nn import metrics
from fastnet.populations import ensemble_file
from fastnet.serialization import safetensors_file
from tests.closeness import assert_close

RNG = np.random.default_rng(7)
X = RNG.uniform(-1, 1, (120, 3))
Y = X @ [1.0, -2.0, 0.5] + 0.1 * RNG.standard_normal(120)
LABELS = np.digitize(Y, [-0.5, 0.5])
FEW = RNG.uniform(-1, 1, (17, 3))


def members(outputs: int, last: Any = "identity", y: Any = Y, **how: Any) -> Any:
    net = fn.Network([3, 8, outputs], output_activation=last, backend="numpy")
    return fn.fit_many(net, X, y, **({"seeds": 3, "epochs": 8} | how))


@pytest.fixture(scope="module")
def classes() -> Any:
    return members(3, "softmax", LABELS, optimizer=fn.Adam(0.03))


def test_probabilities_are_averaged(classes: Any) -> None:
    ensemble = fn.Ensemble(classes)
    each = np.stack([net.predict(FEW) for net in classes])
    assert np.array_equal(ensemble.predict_all(FEW), each)
    assert_close(ensemble.predict(FEW), each.astype(float).mean(axis=0))
    assert ensemble.predict(FEW).dtype == np.float32
    assert ensemble.predict_labels(FEW).tolist() == each.mean(axis=0).argmax(axis=1).tolist()
    mean, std = ensemble.predict(FEW, return_std=True)
    assert np.array_equal(mean, ensemble.predict(FEW))
    assert_close(std, each.astype(float).std(axis=0), scale=1.0)


def test_weights_count_by_their_ratios(classes: Any) -> None:
    each = np.stack([net.predict(FEW) for net in classes]).astype(float)
    for weights in ([1, 2, 0], [1e300, 2e300, 0.0], [1e-300, 2e-300, 0.0]):
        ensemble = fn.Ensemble(classes, weights=weights)
        assert_close(ensemble.predict(FEW), (each[0] + 2 * each[1]) / 3)
        assert ensemble.weights.sum() == 1


def test_disagreement_is_the_weight_of_other_labels(classes: Any) -> None:
    ensemble = fn.Ensemble(classes, weights=[3, 2, 1])
    labels = np.stack([net.predict_labels(X) for net in classes])
    other = labels != ensemble.predict_labels(X)
    assert_close(ensemble.disagreement(X), np.array([3, 2, 1]) @ other / 6, terms=9)
    assert other.any()


def test_predictions_in_units_keep_their_shape() -> None:
    population = members(1, standardize_targets=True)
    ensemble = fn.Ensemble(population)
    assert ensemble.predict(FEW).shape == (17,)
    each = np.stack([net.predict(FEW) for net in population])
    assert_close(ensemble.predict(FEW), each.mean(axis=0), terms=9)
    found = ensemble.evaluate(X, Y, metrics=["mae"])
    mean = ensemble.predict(X)
    assert_close(np.float32(found["loss"]), np.mean((mean - Y) ** 2), terms=9)
    assert_close(np.float32(found["mae"]), np.mean(np.abs(mean - Y)), terms=9)
    assert_close(np.float32(found["r2"]), metrics.r2(Y[:, None], mean[:, None]), terms=9)


def test_normal_distributions_are_a_mixture() -> None:
    population = members(2, loss="gaussian_nll", standardize_targets=True, optimizer=fn.Adam(0.02))
    pairs = [net.predict(FEW, return_std=True) for net in population]
    means, stds = (np.stack(part) for part in zip(*pairs, strict=True))
    mean, std = fn.Ensemble(population).predict(FEW, return_std=True)
    assert_close(mean, means.mean(axis=0), terms=9)
    # The mean of the variances, and the variance of the means.
    assert_close(std**2, (stds**2).mean(axis=0) + means.var(axis=0), terms=9)
    assert np.isfinite(fn.Ensemble(population).evaluate(X, Y)["loss"])


def test_quantiles_are_averaged() -> None:
    population = members(3, loss=fn.losses.Quantile((0.1, 0.5, 0.9)))
    found = fn.Ensemble(population).predict_quantiles(FEW)
    each = [net.predict_quantiles(FEW)[0.9] for net in population]
    assert_close(found[0.9], np.mean(each, axis=0, dtype=float), scale=1.0)


def test_scores_are_those_of_the_mean(classes: Any) -> None:
    ensemble, weight = fn.Ensemble(classes), np.arange(120) % 3
    found = ensemble.evaluate(X, LABELS, metrics=["f1"], sample_weight=weight)
    mean = ensemble.predict(X)
    picked = mean[np.arange(120), LABELS].astype(float)
    loss = np.average(-np.log(picked), weights=weight)
    assert_close(np.float32(found["loss"]), loss)
    right = mean.argmax(axis=1) == LABELS
    assert found["accuracy"] == np.average(right, weights=weight)
    assert found["f1"] == metrics.f1(LABELS, mean, weight)
    one = fn.Ensemble(classes[:1].networks).evaluate(X, LABELS)
    other = classes[0].evaluate(X, LABELS)
    assert one["accuracy"] == other["accuracy"]
    assert_close(np.float32(one["loss"]), other["loss"])


@pytest.mark.parametrize(("outputs", "last"), [(3, "softmax"), (1, "sigmoid")])
def test_one_temperature_calibrates_the_mean(outputs: int, last: str) -> None:
    y = LABELS if outputs == 3 else (LABELS > 1).astype(int)
    population = members(outputs, last, y, optimizer=fn.Adam(0.1), epochs=60)
    ensemble = fn.Ensemble(population)
    noisy = np.where(RNG.random(120) < 0.3, 0, y)
    before, labels = ensemble.evaluate(X, noisy)["loss"], ensemble.predict_labels(X)
    temperature = ensemble.calibrate(X, noisy)
    assert temperature > 1.2
    after = ensemble.evaluate(X, noisy)["loss"]
    assert after < before
    assert ensemble.predict_labels(X).tolist() == labels.tolist()
    for other in (0.9, 1.1):  # it is a minimum
        ensemble.temperature = temperature * other
        assert ensemble.evaluate(X, noisy)["loss"] > after
    ensemble.temperature = temperature
    assert ensemble.uncalibrated().evaluate(X, noisy)["loss"] == before
    assert ensemble.calibrate(X, noisy) == temperature  # begins anew


def test_greedy_selection_takes_the_best_and_weighs_them(classes: Any) -> None:
    bad = members(3, "softmax", LABELS, epochs=1, optimizer=fn.SGD(1e-6), seeds=[9])
    chosen = fn.Ensemble.greedy([*bad, *classes], X, LABELS, rounds=12)
    assert bad[0] not in chosen.networks
    best = min(net.evaluate(X, LABELS)["loss"] for net in classes)
    assert chosen.evaluate(X, LABELS)["loss"] <= best * (1 + 1e-6)
    by_score = fn.Ensemble.greedy([*bad, *classes], X, LABELS, metric="accuracy")
    scores = [net.evaluate(X, LABELS)["accuracy"] for net in classes]
    assert by_score.evaluate(X, LABELS)["accuracy"] >= max(scores)


def test_a_file_holds_the_ensemble(classes: Any, tmp_path: Path) -> None:
    ensemble = fn.Ensemble(classes, weights=[1, 2, 4])
    ensemble.calibrate(X, LABELS)
    ensemble.save(tmp_path / "e.safetensors")
    for backend in ("numpy", "numba"):
        loaded = fn.Ensemble.load(tmp_path / "e.safetensors", backend=backend)
        assert loaded[0].backend == backend
        assert loaded.temperature == ensemble.temperature
        assert loaded.weights.tolist() == ensemble.weights.tolist()
        here = ensemble.to(backend).predict(FEW)
        assert np.array_equal(loaded.predict(FEW), here)


def test_tables_and_scalers_are_in_the_file(tmp_path: Path) -> None:
    table = {"size": X[:, 0], "kind": np.array(["u", "v", "w"] * 40), "price": Y}
    networks = [fn.tables.train(table, "price", epochs=3, seed=k) for k in range(2)]
    ensemble = fn.Ensemble(networks)
    ensemble.save(tmp_path / "e.safetensors")
    loaded = fn.Ensemble.load(tmp_path / "e.safetensors")
    rows = {"kind": ["w", "u"], "size": [0.1, np.nan]}
    assert np.array_equal(loaded.predict(rows), ensemble.to(loaded[0].backend).predict(rows))
    assert loaded.evaluate(table, "price").keys() == {"loss", "r2"}


def test_other_files_are_refused(classes: Any, tmp_path: Path) -> None:
    file = tmp_path / "e.safetensors"
    classes[0].save(file)
    with pytest.raises(fn.ModelFileError, match="is not a fastnet ensemble"):
        fn.Ensemble.load(file)
    fn.Ensemble(classes).save(file)
    with pytest.raises(fn.ModelFileError, match=r"fn\.Ensemble\.load"):
        fn.load(file)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(fn.ModelFileError, match="checksum"):
        fn.Ensemble.load(file)


def change(file: Path, change: Any) -> None:
    """Write the file anew, with another description, and a valid checksum."""
    description, tensors = safetensors_file.unpack(file, ensemble_file._KIND, "", "")
    change(description, tensors)
    file.write_bytes(safetensors_file.pack(ensemble_file._KIND, description, tensors))


DAMAGE: dict[str, Any] = {
    "version": lambda d, t: d.update(version=99),
    "no members": lambda d, t: d.update(members=[]),
    "a number": lambda d, t: d.update(members=[1, 2, 3]),
    "fewer members": lambda d, t: d["members"].pop(),
    "another tensor": lambda d, t: t.update({"7.layers.0.weight": np.zeros(3)}),
    "a tensor less": lambda d, t: t.pop("1.layers.0.weight"),
    "a weight": lambda d, t: d.update(weights=[1, -1, 1]),
    "fewer weights": lambda d, t: d.update(weights=[1.0]),
    "no weights": lambda d, t: d.pop("weights"),
    "a temperature": lambda d, t: d.update(temperature=0),
    "not finite": lambda d, t: d.update(temperature=10**400),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_every_value_of_a_file_is_checked(classes: Any, damage: Any, tmp_path: Path) -> None:
    file = tmp_path / "e.safetensors"
    fn.Ensemble(classes).save(file)
    change(file, lambda d, t: None)
    fn.Ensemble.load(file)
    change(file, damage)
    with pytest.raises(fn.ModelFileError) as caught:
        fn.Ensemble.load(file)
    assert "\n" not in str(caught.value)


def test_a_file_with_a_temperature_of_numbers_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "e.safetensors"
    fn.Ensemble(members(1)).save(file)
    change(file, lambda d, t: d.update(temperature=1.5))
    with pytest.raises(fn.ModelFileError, match="only probabilities can be calibrated"):
        fn.Ensemble.load(file)


def test_members_that_diverged_are_left_out() -> None:
    population = members(
        1,
        settings=[{"learning_rate": r} for r in (0.01, 1e30, 0.02)],
        seeds=None,
        optimizer=fn.SGD(),
    )
    with pytest.warns(fn.FastNetWarning, match="1 of 3 members diverged"):
        ensemble = fn.Ensemble(population)
    assert ensemble.networks == (population[0], population[2])
    with pytest.raises(fn.InputError, match="all 1 members diverged"):
        fn.Ensemble(population[1:2])


def test_members_must_predict_the_same(classes: Any) -> None:
    other = members(1, "sigmoid", (LABELS > 1).astype(int))
    with pytest.raises(fn.InputError, match="their numbers of outputs differ: 3 of the first, 1"):
        fn.Ensemble([*classes, *other])
    with pytest.raises(fn.InputError, match="at least one"):
        fn.Ensemble([])
    for weights in ([1, 2], [1, -1, 1], [0, 0, 0], [1, np.nan, 1], "abc"):
        with pytest.raises(fn.InputError, match="weights must be 3 numbers"):
            fn.Ensemble(classes, weights=weights)
    with pytest.raises(fn.InputError, match="only probabilities can be calibrated"):
        fn.Ensemble(members(1)).calibrate(X, Y)
    with pytest.raises(fn.InputError, match="unknown metric"):
        fn.Ensemble.greedy(classes, X, LABELS, metric="acuracy")


def test_members_with_other_quantiles_are_refused() -> None:
    nets = [
        fn.Network([2, 3, 2], loss=fn.losses.Quantile(levels), seed=0)
        for levels in ((0.1, 0.9), (0.4, 0.6))
    ]
    with pytest.raises(fn.InputError, match="quantiles differ"):
        fn.Ensemble(nets)


def test_what_is_no_sequence_of_networks_is_refused() -> None:
    anything: Any
    for anything in (None, 3, fn.Network([2, 3, 1])):
        with pytest.raises(fn.InputError, match="needs a sequence of networks"):
            fn.Ensemble(anything)


def test_greedy_refuses_a_score_that_these_rows_do_not_have() -> None:
    nets = [fn.Network([2, 3, 2], output_activation="softmax", seed=k) for k in range(2)]
    x, anything = np.ones((4, 2)), len
    with pytest.raises(fn.InputError, match="no network has a finite 'roc_auc'"):
        fn.Ensemble.greedy(nets, x, np.ones(4, int), metric="roc_auc")
    with pytest.raises(fn.InputError, match="must be the name of a metric"):
        fn.Ensemble.greedy(nets, x, np.ones(4, int), metric=anything)  # type: ignore[arg-type]


def test_no_rows_have_no_disagreement() -> None:
    nets = [fn.Network([2, 3, 2], output_activation="softmax", seed=k) for k in range(2)]
    assert fn.Ensemble(nets).disagreement(np.ones((0, 2))).shape == (0,)
