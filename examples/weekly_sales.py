"""Next week's sales, from those of the weeks before: lags as inputs, folds that respect time.

The series is made up: eight years of a shop's weekly sales with a trend, a season, and offers,
which sell more in summer and leave a dip behind them. The network sees the last weeks, last year's
week and the calendar. `TimeSeriesSplit` always tests on weeks after those that were learned from,
and so must every choice: the naive forecasts and a ridge regression get the same rows.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastnet.sklearn import FastNetRegressor

LAGS = (1, 2, 3, 52)


def series(weeks: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return the sales of each week, and whether an offer was planned for it."""
    dates = pd.date_range("2017-01-02", periods=weeks, freq="W-MON")
    season = np.sin(2 * np.pi * (dates.day_of_year.to_numpy() - 80) / 365.25)
    offer = (rng.random(weeks) < 0.15).astype(float)
    after = np.concatenate([[0.0], offer[:-1]])
    level = np.exp(4.5 + 0.0006 * np.arange(weeks) + 0.25 * season)
    level *= 1 + offer * (0.5 + 0.4 * season) * (1 - 0.6 * after) - 0.2 * after
    noise = np.zeros(weeks)
    for week in range(1, weeks):
        noise[week] = 0.6 * noise[week - 1] + rng.normal(0, 0.04)
    return pd.DataFrame({"sales": level * np.exp(noise), "offer": offer}, index=dates)


def features(table: pd.DataFrame) -> pd.DataFrame:
    """Return what is known of each week before it begins; its first year has no lags."""
    known = {f"sales {lag} weeks before": np.log(table["sales"].shift(lag)) for lag in LAGS}
    known |= {f"offer {lag} weeks before": table["offer"].shift(lag) for lag in LAGS}
    angle = 2 * np.pi * table.index.day_of_year.to_numpy() / 365.25
    known |= {"season, sine": np.sin(angle), "season, cosine": np.cos(angle)}
    return pd.DataFrame(known | {"offer": table["offer"]}, index=table.index)


def main(quick: bool = False) -> None:
    """Compare forecasts fold by fold, then forecast the week after the last."""
    table = series(470, np.random.default_rng(3))
    x = features(table)
    x, y = x[max(LAGS) :], np.log(table["sales"])[max(LAGS) :]
    naive = {
        "last week again": x["sales 1 weeks before"],
        "the week of last year": x["sales 52 weeks before"],
    }
    network = FastNetRegressor(
        (32,),
        activation="tanh",
        optimizer="adamw",
        weight_decay=0.1,
        learning_rate=5e-3,
        batch_size=32,
        epochs=60 if quick else 150,
        standardize=True,
        standardize_targets=True,
        random_state=0,
    )
    models = {
        "ridge regression": make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 3, 11))),
        "fastnet": network,
    }
    errors: dict[str, list[float]] = {name: [] for name in [*naive, *models]}
    folds = TimeSeriesSplit(n_splits=3 if quick else 5, test_size=52)
    for past, future in folds.split(x):
        x_past, y_past, x_future, y_future = (
            x.iloc[past],
            y.iloc[past],
            x.iloc[future],
            y.iloc[future],
        )
        print(
            f"{len(past)} weeks to learn from, tested on the year from {y_future.index[0]:%d %B %Y}"
        )
        forecasts = {name: column.iloc[future] for name, column in naive.items()}
        forecasts |= {
            name: clone(model).fit(x_past, y_past).predict(x_future)
            for name, model in models.items()
        }
        for name, forecast in forecasts.items():
            errors[name].append(float(np.mean(np.abs(np.exp(forecast - y_future) - 1))))
    print("mean error of a week's sales, and in each fold:")
    for name, each in errors.items():
        print(f"{name:22} {np.mean(each):.1%}  ({', '.join(f'{error:.1%}' for error in each)})")

    network.fit(x, y)
    weeks = table.index[-1] + pd.to_timedelta([7], "D")
    for offer in (0.0, 1.0):
        longer = pd.concat([table, pd.DataFrame({"sales": np.nan, "offer": offer}, index=weeks)])
        sales = np.exp(network.predict(features(longer)[-1:]))[0]
        print(f"{weeks[0]:%d %B %Y}, {'with an' if offer else 'without'} offer: {sales:.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer folds and epochs")
    main(**vars(parser.parse_args()))
