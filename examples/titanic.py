"""Who survives? A table with gaps, in scikit-learn's way and in fastnet's.

The passengers are made up, in the likeness of the Titanic's: women, children and the first class
have better chances, a fifth of the ages are unknown, and so are most cabins. A pipeline with a
`ColumnTransformer` is searched for its best settings, `fastnet.tables.train` takes the table as it
is, and a logistic regression behind the same pipeline says what simple means reach.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import fastnet as fn
from fastnet.sklearn import FastNetClassifier

NUMBERS, TEXTS = ["age", "fare", "relatives"], ["class", "sex", "port", "deck"]


def passengers(count: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return a table of passengers, some of whose cells are empty."""
    rank = rng.choice(3, count, p=[0.24, 0.21, 0.55])
    female, child = rng.random(count) < 0.36, rng.random(count) < 0.1
    age = np.where(child, rng.uniform(0, 14, count), rng.normal(40 - 5 * rank, 11, count).clip(15))
    relatives = rng.poisson(0.4 + 1.2 * child + 0.4 * female)
    fare = np.exp(rng.normal(4.2 - 0.9 * rank, 0.5, count)) * (1 + 0.5 * relatives)
    # Children and women first, but hardly any of the men; large families got lost below.
    score = -1.2 - 0.5 * rank + female * (3.6 - 1.0 * rank) + 2.2 * (age < 14) * (rank < 2)
    score += 1.2 * (age < 14) - 0.9 * (relatives > 3) - 0.03 * (age - 30) * ~female
    table = pd.DataFrame(
        {
            "class": np.array(["first", "second", "third"])[rank],
            "sex": np.where(female, "female", "male"),
            "age": age.round(),
            "fare": fare.round(2),
            "relatives": relatives,
            "port": rng.choice(
                ["Southampton", "Cherbourg", "Queenstown"], count, p=[0.7, 0.2, 0.1]
            ),
            "deck": np.where(rank == 0, rng.choice(list("ABCD"), count), "F"),
            "survived": np.where(rng.random(count) < 1 / (1 + np.exp(-1.6 * score)), "yes", "no"),
        }
    )
    table.loc[rng.random(count) < 0.2, "age"] = None
    table.loc[rng.random(count) < 0.7 - 0.4 * (rank == 0), "deck"] = None
    table.loc[rng.random(count) < 0.01, "port"] = None
    return table


def main(quick: bool = False) -> None:
    """Fit three models to the same rows and compare them on rows that none has seen."""
    table = passengers(2_400, np.random.default_rng(0))
    train, test = train_test_split(table, test_size=0.4, random_state=0, stratify=table["survived"])
    print(f"{len(train)} passengers to learn from; cells that are empty:")
    print(train.isna().mean().loc[lambda share: share > 0].map("{:.0%}".format).to_string())
    x, y = train.drop(columns="survived"), train["survived"]
    x_test, y_test = test.drop(columns="survived"), test["survived"]

    columns = ColumnTransformer(
        [
            (
                "numbers",
                make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()),
                NUMBERS,
            ),
            ("texts", OneHotEncoder(handle_unknown="ignore"), TEXTS),
        ],
    )
    baseline = make_pipeline(columns, LogisticRegression(max_iter=1_000)).fit(x, y)

    network = FastNetClassifier(
        activation="silu", epochs=20 if quick else 40, random_state=0, dtype="float32"
    )
    search = GridSearchCV(
        make_pipeline(columns, network),
        {
            "fastnetclassifier__hidden_layers": [(32,), (32, 32)],
            "fastnetclassifier__dropout": [0.1] if quick else [0.0, 0.2],
        },
        cv=3,
        scoring="neg_log_loss",
    )
    search.fit(x, y)
    best = {name.partition("__")[2]: value for name, value in search.best_params_.items()}
    print(f"the search took {best}")

    net = fn.tables.train(train, "survived", epochs=128 if quick else 256)
    print(f"tables.train makes of the columns {net.inputs} inputs, of the target {net.label_names}")

    answers = {
        "logistic regression": (baseline.predict(x_test), baseline.predict_proba(x_test)),
        "pipeline, searched": (search.predict(x_test), search.predict_proba(x_test)),
        "fastnet.tables.train": (net.predict_labels(x_test), net.predict(x_test)),
    }
    for name, (labels, chances) in answers.items():
        accuracy, loss = np.mean(labels == y_test), log_loss(y_test, chances)
        print(f"{name:22} accuracy {accuracy:.3f}, log loss {loss:.3f}")
    girl = {"class": "second", "sex": "female", "age": 8.0, "relatives": 2}
    man = {"class": "third", "sex": "male", "age": 40.0, "relatives": 0, "port": "Southampton"}
    for who, row in {"a girl": girl, "a man": man}.items():
        row = dict.fromkeys([*NUMBERS, *TEXTS]) | row
        print(f"{who}: survives with {net.predict_one(row)[1]:.0%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows and epochs")
    main(**vars(parser.parse_args()))
