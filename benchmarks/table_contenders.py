"""Who is compared on real tables: fastnet's presets, scikit-learn, and libraries of boosted trees.

A contender fits one fold and returns what answers for a frame. All have default settings, save the
number of threads and the seed. fastnet takes tables as they are. scikit-learn's MLP gets them from
its own encoders (medians and most frequent categories for what is missing, one-hot, standardised;
standardised targets too). All boosted trees take categories and missing values themselves.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click
import numpy as np
from numpy.typing import NDArray

import fastnet as fn
from fastnet.data.text import Texts
from fastnet.data.values import known_texts
from fastnet.preprocessing.samples import training_rows
from fastnet.tables import Frame, TablePreprocessor

Array = NDArray[Any]
Answer = Callable[[Frame], Array]

_HELD_BACK: Final = 0.2
"""Share of the rows that choose the best epoch, as in the presets."""

_BATCHES: Final = ((2_800, 32), (4_500, 64), (6_400, 128), (math.inf, 256))
"""The first number of rows that is too many for a size of batches, and that size."""

_MOST_CATEGORIES: Final = 255
"""HistGradientBoosting takes no more in one column; those with more are numbers for it."""


@dataclass(frozen=True)
class Fold:
    """Rows to train on and rows to answer for; targets are class numbers or plain numbers."""

    train: Frame
    test: Frame
    y: Array
    classes: bool


@dataclass(frozen=True)
class Contender:
    """One who is compared.

    Attributes
    ----------
    name : str
    fit : callable
        ``fit(fold, seed)`` trains on ``fold.train`` and returns what answers for a frame: class
        numbers or numbers, of shape (N,).
    needs : tuple of str
        The packages it imports, as they are installed; fastnet's own have none.
    """

    name: str
    fit: Callable[[Fold, int], Answer]
    needs: tuple[str, ...] = ()

    @property
    def ours(self) -> bool:
        """Whether it is fastnet."""
        return not self.needs

    def missing(self) -> list[str]:
        """Return those of its packages that are not installed."""
        modules = {name: "sklearn" if name == "scikit-learn" else name for name in self.needs}
        return [name for name, module in modules.items() if not importlib.util.find_spec(module)]


# --- fastnet --------------------------------------------------------------------------------------


def fastnet(
    train: Callable[..., Any] | None = None, **options: Any
) -> Callable[[Fold, int], Answer]:
    """Return a fit of `fastnet.tables.train`, or of what takes its place, with these options."""

    def fit(fold: Fold, seed: int) -> Answer:
        task: Any = "classification" if fold.classes else "regression"
        made = train or fn.tables.train
        network = made(fold.train, fold.y, task=task, seed=seed, **options)

        def answer(frame: Frame) -> Array:
            outputs = network.predict_columns(frame)
            names = np.array([int(name) for name in network.label_names or ()])
            answers: Array = names[outputs.argmax(axis=1)] if fold.classes else outputs[:, 0]
            return answers

        return answer

    return fit


def search(minutes: float) -> Contender:
    """Return the contender that searches for so many minutes, and says what it found."""

    def tune(*args: Any, **options: Any) -> Any:
        tuned = fn.tables.tune(*args, minutes=minutes, **options)
        known = {name: round(value, 4) for name, value in tuned.out_of_fold_scores.items()}
        click.echo(f"{len(tuned.results)} trials, out-of-fold {known}", err=True)
        return tuned

    return Contender(f"fastnet tune, {minutes:g} min", fastnet(tune))


def members(count: int) -> Contender:
    """Return the contender that trains one network of so many members, with TabM's settings.

    They are those of the paper's package, but for a width of 256: two hidden layers, dropout 0.1,
    AdamW, and a stop after 16 epochs without a better score of the mean. The size of batches goes
    by the rows, as pytabkit reads it off the paper.
    """

    def train(table: Frame, y: Array, *, task: Any, seed: int) -> fn.Network:
        made = TablePreprocessor.fit(
            table,
            y,
            task=task,
            numeric_embedding="piecewise",
            seed=seed,
            rows=training_rows(len(table), _HELD_BACK, seed),
        )
        labels = made.label_names
        last = fn.Dense(1) if labels is None else fn.Dense(len(labels), "softmax")
        hidden = [fn.Dense(256, "relu"), fn.Dropout(0.1)] * 2
        layers = [made.first_layer(), fn.Members(count), *hidden, last]
        net = fn.Network(layers, inputs=made.inputs, seed=seed)
        net.preprocessor = made
        monitor = "val_loss" if labels is None else "val_accuracy"
        net.fit(
            table,
            y,
            optimizer=fn.AdamW(2e-3, weight_decay=3e-4, clip_norm=1.0),
            epochs=1_000,
            batch_size=next(size for most, size in _BATCHES if len(table) < most),
            validation_split=_HELD_BACK,
            early_stopping=fn.EarlyStopping(16, monitor=monitor),
        )
        return net

    return Contender(f"fastnet, {count} members", fastnet(train))


# --- scikit-learn ---------------------------------------------------------------------------------


def sklearn_mlp(fold: Fold, seed: int) -> Answer:
    """Fit scikit-learn's MLP behind its usual encoders."""
    from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    words = texts_of(fold.train)
    numbers = [name for name in fold.train.columns if name not in words]
    encoder = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
            ("words", OneHotEncoder(handle_unknown="ignore"), words),
        ],
        sparse_threshold=0,
    )
    model = MLPClassifier(random_state=seed) if fold.classes else MLPRegressor(random_state=seed)
    if not fold.classes:
        model = TransformedTargetRegressor(model, transformer=StandardScaler())
    fitted = make_pipeline(encoder, model).fit(pandas_of(fold.train), fold.y)
    return lambda frame: np.asarray(fitted.predict(pandas_of(frame)))


def hist_gradient_boosting(fold: Fold, seed: int) -> Answer:
    """Fit scikit-learn's HistGradientBoosting."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if fold.classes else HistGradientBoostingRegressor
    encode = categories_of(fold.train, most=_MOST_CATEGORIES)
    model = kind(categorical_features="from_dtype", random_state=seed)
    model.fit(encode(fold.train), fold.y)
    return lambda frame: np.asarray(model.predict(encode(frame)))


# --- libraries of boosted trees -------------------------------------------------------------------


def lightgbm(fold: Fold, seed: int) -> Answer:
    """Fit LightGBM; columns of pandas' type for categories are categories to it."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    kind = LGBMClassifier if fold.classes else LGBMRegressor
    encode = categories_of(fold.train)
    model = kind(n_jobs=1, random_state=seed, verbose=-1)
    model.fit(encode(fold.train), fold.y)
    return lambda frame: np.asarray(model.predict(encode(frame)))


def xgboost(fold: Fold, seed: int) -> Answer:
    """Fit XGBoost, which is told to take columns of categories as they are."""
    from xgboost import XGBClassifier, XGBRegressor

    kind = XGBClassifier if fold.classes else XGBRegressor
    encode = categories_of(fold.train)
    model = kind(n_jobs=1, random_state=seed, enable_categorical=True)
    model.fit(encode(fold.train), fold.y)
    return lambda frame: np.asarray(model.predict(encode(frame)))


def catboost(fold: Fold, seed: int) -> Answer:
    """Fit CatBoost, which takes texts themselves; one that is missing is a category of its own."""
    from catboost import CatBoostClassifier, CatBoostRegressor

    kind = CatBoostClassifier if fold.classes else CatBoostRegressor
    words = texts_of(fold.train)

    def encode(frame: Frame) -> Any:
        table = pandas_of(frame)
        for name in words:
            table[name] = table[name].where(table[name].notna(), "").astype(object)
        return table

    options = {"thread_count": 1, "random_seed": seed, "cat_features": words}
    model = kind(**options, verbose=False, allow_writing_files=False)
    model.fit(encode(fold.train), fold.y)
    return lambda frame: np.asarray(model.predict(encode(frame))).reshape(len(frame))


# --- tables for the others ------------------------------------------------------------------------


def texts_of(frame: Frame) -> list[str]:
    """Return the names of the columns of texts."""
    return [name for name, column in frame.columns.items() if isinstance(column, Texts)]


def pandas_of(frame: Frame) -> Any:
    """Return a frame of pandas; what is missing for fastnet is missing there."""
    import pandas

    columns: dict[str, Array] = {}
    for name, column in frame.columns.items():
        if isinstance(column, Texts):
            texts = known_texts(column)  # missing for the others what is missing for fastnet
            columns[name] = np.array([*texts.values, None], object)[texts.codes]
        else:
            columns[name] = column
    return pandas.DataFrame(columns)


def categories_of(train: Frame, most: int | None = None) -> Callable[[Frame], Any]:
    """Learn categories from training rows; return what encodes a frame for pandas.

    Parameters
    ----------
    most : int or None
        A column with more categories becomes one of their numbers.

    Returns
    -------
    callable
        Texts become pandas' type for categories; those that training had not are missing.
    """
    import pandas

    learned = pandas_of(train)
    kinds: dict[str, Sequence[Any]] = {
        name: sorted(learned[name].dropna().unique()) for name in texts_of(train)
    }

    def encode(frame: Frame) -> Any:
        table = pandas_of(frame)
        for name, known in kinds.items():
            column = table[name].where(table[name].isin(known))
            column = column.astype(pandas.CategoricalDtype(known))
            table[name] = column if most is None or len(known) <= most else column.cat.codes
        return table

    return encode


CONTENDERS: Final = (
    Contender("fastnet tabular", fastnet(preset="tabular")),
    Contender("fastnet tabular, five", fastnet(preset="tabular", n_estimators=5)),
    Contender("fastnet tabular-piecewise", fastnet(preset="tabular-piecewise")),
    Contender("fastnet tabular-best", fastnet(preset="tabular-best")),
    Contender("scikit-learn MLP", sklearn_mlp, ("scikit-learn", "pandas")),
    Contender("HistGradientBoosting", hist_gradient_boosting, ("scikit-learn", "pandas")),
    Contender("LightGBM", lightgbm, ("lightgbm", "scikit-learn", "pandas")),
    Contender("XGBoost", xgboost, ("xgboost", "scikit-learn", "pandas")),
    Contender("CatBoost", catboost, ("catboost", "pandas")),
)
"""All who are compared, in the order of the columns."""
