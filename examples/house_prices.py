"""What is a house worth? Numbers, texts, a date and a postal code, with gaps, and a price to learn.

The sales are made up. A pipeline with a `ColumnTransformer` needs to be told what each column is,
and a randomized search tunes it; `fastnet.tables.train` reads date, texts and gaps by itself and
is told only that postal codes are names. A ridge regression behind the same pipeline is the simple
answer.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import RandomizedSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import fastnet as fn
from fastnet.sklearn import FastNetRegressor

NUMBERS, TEXTS = ["area", "garden", "built", "rooms"], ["zip", "kind", "heating"]


def sales(count: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return a table of sales, some of whose cells are empty."""
    kind = rng.choice(["flat", "house", "villa"], count, p=[0.5, 0.4, 0.1])
    area = rng.normal(np.select([kind == "flat", kind == "house"], [75, 130], 220), 20).clip(25)
    garden = np.where(kind == "flat", 0, rng.gamma(3.0, 120, count))
    built = rng.integers(1890, 2025, count)
    place = rng.integers(0, 12, count)
    sold = pd.Timestamp("2021-01-01") + pd.to_timedelta(rng.integers(0, 1_400, count), "D")
    heating = rng.choice(["gas", "oil", "heat pump"], count, p=[0.6, 0.25, 0.15])
    # A square metre costs more in some places, in old beauties and new buildings, and each year.
    metre = 2_000 + 2_500 * np.sin(place * 2.4) ** 2 + 0.25 * (built - 1_960) ** 2
    metre *= 1 + 0.06 * (sold.to_numpy() - np.datetime64("2021-01-01")) / np.timedelta64(365, "D")
    price = area * metre + 60 * garden * np.sin(place * 2.4) ** 2 - 15_000 * (heating == "oil")
    table = pd.DataFrame(
        {
            "area": area.round(),
            "garden": garden.round(),
            "built": built,
            "rooms": (area / 28).round() + rng.integers(0, 2, count),
            "zip": 10_115 + 37 * place,
            "kind": kind,
            "heating": heating,
            "sold": sold,
            "price": (price * rng.lognormal(0, 0.06, count)).round(-2),
        }
    )
    for column, share in {"garden": 0.15, "built": 0.1, "heating": 0.3, "rooms": 0.05}.items():
        table.loc[rng.random(count) < share, column] = None
    return table


def main(quick: bool = False) -> None:
    """Fit three models to the same sales and compare them on those that none has seen."""
    table = sales(2_400, np.random.default_rng(0))
    train, test = train_test_split(table, test_size=0.25, random_state=0)
    x, y = train.drop(columns="price"), train["price"]
    x_test, y_test = test.drop(columns="price"), test["price"].to_numpy()
    print(f"{len(x)} sales to learn from; prices from {y.min():,.0f} to {y.max():,.0f}")

    def prepare(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(sold=(frame["sold"] - pd.Timestamp("2021-01-01")).dt.days)

    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    columns = ColumnTransformer(
        [
            ("numbers", numbers, [*NUMBERS, "sold"]),
            ("texts", OneHotEncoder(handle_unknown="ignore"), TEXTS),
        ]
    )
    ridge = make_pipeline(columns, RidgeCV(np.logspace(-2, 3, 11))).fit(prepare(x), y)

    regressor = FastNetRegressor(
        standardize_targets=True, dtype="float32", epochs=40 if quick else 80, random_state=0
    )
    search = RandomizedSearchCV(
        make_pipeline(columns, regressor),
        {
            "fastnetregressor__hidden_layers": [(64,), (32, 32), (64, 64)],
            "fastnetregressor__activation": ["relu", "silu", "tanh"],
            "fastnetregressor__learning_rate": [1e-3, 3e-3, 1e-2],
        },
        n_iter=3 if quick else 10,
        cv=3,
        random_state=0,
    )
    search.fit(prepare(x), y)
    best = {name.partition("__")[2]: value for name, value in search.best_params_.items()}
    print(f"the search took {best}")

    net = fn.tables.train(
        train, "price", categorical=["zip"], epochs=64 if quick else 256, drop=["rooms"]
    )
    sold = [name for name in net.preprocessor.feature_names if name.startswith("sold")]
    print(f"tables.train makes of the date {len(sold)} inputs: {', '.join(sold[:3])}, ...")

    answers = {
        "mean of the prices": np.full(len(test), y.mean()),
        "ridge regression": ridge.predict(prepare(x_test)),
        "pipeline, searched": search.predict(prepare(x_test)),
        "fastnet.tables.train": net.predict(x_test)[:, 0],
    }
    for name, prices in answers.items():
        off = np.median(np.abs(prices / y_test - 1))
        r2 = 1 - np.mean((prices - y_test) ** 2) / y_test.var()
        print(f"{name:22} R2 {r2:.3f}, half of the answers are within {off:.1%}")

    net.save("house-prices.safetensors")
    again = fn.load("house-prices.safetensors")
    offer = {"area": 95, "garden": None, "built": 1901, "zip": 10_226, "kind": "flat"}
    offer |= {"heating": "gas", "sold": "2024-06-01"}
    print(f"an old flat of 95 square metres: {again.predict_one(offer).item():,.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer trials and epochs")
    main(**vars(parser.parse_args()))
