"""Ranks, wins and costs on real tables, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fastnet.benchmarks import table_standings as standings
from fastnet.benchmarks.table_standings import Result


def result(table: str, contender: str, scores: list[float], seconds: list[float]) -> Result:
    return Result(table, "classification", 100, 4, contender, scores, seconds)


# Means: 0.9, 0.9 and 0.5 on the first; 0.6, 0.8 and 0.7 on the second. A shows what B shows on the
# first, although it is behind by less than is shown.
RESULTS = [
    result("first", "A", [0.8999, 0.8999], [1.0, 3.0]),
    result("first", "B", [1.0, 0.8], [8.0, 8.0]),
    result("first", "C", [0.5, 0.5], [0.1, 0.1]),
    result("second", "A", [0.6, 0.6], [2.0, 2.0]),
    result("second", "B", [0.9, 0.7], [30.0, 10.0]),
    result("second", "C", [0.7, 0.7], [0.1, 0.3]),
]


def test_ranks_shares_wins_and_seconds_are_those_worked_out_by_hand() -> None:
    found = {s.contender: s for s in standings.standings(RESULTS)}
    assert [found[name].rank for name in "ABC"] == [(1.5 + 3) / 2, (1.5 + 1) / 2, (3 + 2) / 2]
    assert [found[name].won for name in "ABC"] == [1, 2, 0]
    assert [found[name].share for name in "AB"] == [0.5, 1.0]
    assert found["C"].share == pytest.approx(0.25, rel=1e-12)
    assert [found[name].seconds for name in "AB"] == [4.0, 28.0]


def test_another_score_changes_the_standing() -> None:
    better = [*RESULTS[:5], result("second", "C", [0.9, 0.9], [0.1, 0.3])]
    assert standings.standings(better) != standings.standings(RESULTS)
    assert {s.contender: s.won for s in standings.standings(better)} == {"A": 1, "B": 1, "C": 1}


def test_equal_scores_share_the_mean_of_their_ranks() -> None:
    scores = np.array([[0.3, 0.1, 0.3, 0.3], [4.0, 3.0, 2.0, 1.0]])
    assert standings.ranks(scores).tolist() == [[2.0, 4.0, 2.0, 2.0], [1.0, 2.0, 3.0, 4.0]]


def test_all_are_best_where_all_are_the_same() -> None:
    same = [result("t", name, [0.5], [1.0]) for name in "AB"]
    assert [(s.share, s.won, s.rank) for s in standings.standings(same)] == [(1.0, 1, 1.5)] * 2


def test_means_over_different_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="second was not given to all of A, B, C"):
        standings.standings(RESULTS[:-1])


def test_who_is_ahead_of_all_of_ours_is_named_with_the_difference() -> None:
    assert list(standings.beaten(RESULTS, ["A"])) == ["second (B, by 0.200 ± 0.100)"]
    assert list(standings.beaten(RESULTS, ["C"])) == [
        "first (A and B, by 0.400 ± 0.000)",
        "second (B, by 0.100 ± 0.100)",
    ]
    assert not list(standings.beaten(RESULTS, ["B"]))
    assert not list(standings.beaten(RESULTS, ["A", "B"]))


def test_tables_mark_the_best_score_and_the_least_seconds() -> None:
    lines = list(standings.accuracies(RESULTS))
    assert lines[0] == "| | rows x columns | A | B | C |"
    assert lines[2:] == [
        "| first | 100 x 4 | **0.900** | **0.900** | 0.500 |",
        "| second | 100 x 4 | 0.600 | **0.800** | 0.700 |",
    ]
    assert list(standings.costs(RESULTS))[2:] == [
        "| first | 100 x 4 | 2.0 | 8.0 | **0.10** |",
        "| second | 100 x 4 | 2.0 | 20 | **0.20** |",
    ]
    assert list(standings.summary(RESULTS))[2:] == [
        "| B | 1.25 | 1.00 | 2 | 28 |",
        "| A | 2.25 | 0.50 | 1 | 4.0 |",
        "| C | 2.50 | 0.25 | 0 | 0.30 |",
    ]
