"""What a configuration costs, and which of several is the cheapest: worked by hand."""

import itertools
import re
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from factories import make_result
from hypothesis import given
from hypothesis import strategies as st

from workbench.datatypes import WorkbenchError
from workbench.evaluation import RunResult
from workbench.report_costs import COSTS, PRICED, cheapest, check_prices, cost_per_1000, deciding, figures, money

BUDGET = "evidence_recall@512t"


def cheapest_of(pairs: Sequence[tuple[str, RunResult]], *arguments: Any) -> tuple[int, str]:
    return cheapest([SimpleNamespace(label=label, result=result) for label, result in pairs], *arguments)


def costing(
    chunks: int | None = 10, size: int | None = None, ms: float | None = None, counts: tuple | None = None, **changes: str
) -> RunResult:
    """Make a result with these costs; `counts` are mean tokens of prompt and answer."""
    answers = counts and dict(zip(("prompt_tokens", "completion_tokens"), counts, strict=True))
    details = {"chunks": chunks, "index_bytes": size, "answers": answers}
    timings = {} if ms is None else {"query_median_ms": ms}
    return make_result({BUDGET: [0.5]}, details=details, timings=timings, **changes)


@pytest.mark.parametrize(
    ("name", "result", "value"),
    [
        ("tokens a question", costing(), None),
        ("tokens a question", costing(counts=(600.5, 20)), 620.5),
        ("tokens a question", costing(counts=(600, 0)), 600),
        ("tokens a question", costing(counts=(600, None)), None),
        ("tokens a question", costing(counts=(None, 20)), None),
        ("ms a query", costing(), None),
        ("ms a query", costing(ms=0.25), 0.25),
        ("chunks", costing(), 10),
        ("index MB", costing(), None),
        ("index MB", costing(size=0), 0),
        ("index MB", costing(size=2_500_000), 2.5),
    ],
)
def test_a_cost_is_read_from_a_result_and_unknown_is_not_zero(name: str, result: RunResult, value: float | None) -> None:
    assert COSTS[name].value(result) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0, "0"),
        (0.04, "0.04"),
        (0.0512, "0.051"),
        (1, "1"),
        (3.14, "3.1"),
        (99.94, "99.9"),
        (100.4, "100"),
        (7, "7"),
        (12345.6, "12,346"),
    ],
)
def test_figures_are_short(value: float, text: str) -> None:
    assert figures(value) == text


@given(st.floats(min_value=1e-9, max_value=1e12))
def test_no_cost_but_zero_reads_as_zero_and_none_is_off_by_more_than_a_twentieth(value: float) -> None:
    assert float(figures(value).replace(",", "")) == pytest.approx(value, rel=0.05)


ONE, OTHER = {"generator": "hf:a"}, {"generator": "hf:b"}
DECIDED = {
    "answers of one generator": (
        "answer_f1",
        [costing(counts=(5, 1), ms=1, **ONE), costing(counts=(6, 1), ms=2, **ONE)],
        "tokens a question",
    ),
    "answers of two generators": ("answer_f1", [costing(counts=(5, 1), ms=1, **ONE), costing(counts=(6, 1), ms=2, **OTHER)], "ms a query"),
    "retrieval, whatever was answered": (BUDGET, [costing(9, counts=(5, 1)), costing(8, counts=(6, 1))], "chunks"),
    "equal tokens": ("answer_f1", [costing(9, counts=(5, 2)), costing(8, counts=(6, 1))], "chunks"),
    "tokens of one unknown": ("answer_f1", [costing(9, counts=(5, 2)), costing(8, counts=(None, 1))], "chunks"),
    "time": (BUDGET, [costing(9, ms=1), costing(8, ms=2)], "ms a query"),
    "time of one unknown": (BUDGET, [costing(9, ms=1), costing(8)], "chunks"),
    "bytes before chunks": (BUDGET, [costing(9, size=4), costing(8, size=5)], "index MB"),
    "chunks where the bytes are equal": (BUDGET, [costing(9, size=4), costing(8, size=4)], "chunks"),
    "nothing known": (BUDGET, [costing(None), costing(None)], None),
    "all equal": (BUDGET, [costing(9, 3, 1.0), costing(9, 3, 1.0)], None),
    "one candidate": (BUDGET, [costing(9, 3, 1.0)], None),
}


@pytest.mark.parametrize("case", DECIDED)
def test_the_cost_that_decides_is_known_for_all_and_differs(case: str) -> None:
    metric, results, name = DECIDED[case]
    assert deciding(results, metric) == name


@pytest.mark.parametrize(
    ("metric", "candidates", "words"),
    [
        (
            BUDGET,
            {"a": costing(1200), "b": costing(1100)},
            "Of those within one standard error of the best, b has the fewest chunks (1,100). ",
        ),
        (
            BUDGET,
            {"a": costing(ms=0.04), "b": costing(ms=0.3)},
            "Of those within one standard error of the best, a is the fastest (0.04 ms a query). ",
        ),
        (
            BUDGET,
            {"가": costing(size=0), "나": costing(size=1)},
            "Of those within one standard error of the best, 가 needs the smallest index (0 MB). ",
        ),
        (
            "answer_f1",
            {"a": costing(counts=(900, 30)), "b": costing(counts=(400, 21.5))},
            "Of those within one standard error of the best, b needs the fewest tokens (422 a question, prompt and answer). ",
        ),
    ],
)
def test_the_cheapest_is_the_same_in_any_order(metric: str, candidates: dict[str, RunResult], words: str) -> None:
    for order in itertools.permutations(candidates.items()):
        place, sentence = cheapest_of(order, metric)
        assert sentence == words
        assert order[place][0] == re.split("best, ", words)[1].split()[0]


def test_of_equally_cheap_ones_the_best_is_taken() -> None:
    assert cheapest_of([("b", costing(9)), ("c", costing(10)), ("a", costing(9))], BUDGET) == (
        0,
        "Of those within one standard error of the best, none costs less than b (9). ",
    )


def test_where_no_cost_tells_them_apart_the_first_is_taken_and_nothing_said() -> None:
    assert cheapest_of([("b", costing()), ("a", costing())], BUDGET) == (0, "")
    assert cheapest_of([("a", costing())], BUDGET) == (0, "")


PRICES = {"tokens": 2e-7, "index_mb": 1e-5}


def test_money_is_the_sum_of_prices_times_costs() -> None:
    """620 tokens at 0.0000002 and 2.5 MB at 0.00001 a question: 0.000124 + 0.000025."""
    result = costing(counts=(600, 20), size=2_500_000)
    assert money(result, PRICES) == pytest.approx(0.000149)
    assert money(result, {}) == 0
    assert set(PRICED) == {"tokens", "latency_ms", "chunks", "index_mb"}
    with pytest.raises(WorkbenchError, match=f"tokens of {costing().config_id} is not known, so it has no price: run it with a generator"):
        money(costing(), PRICES)
    assert money(costing(), {"tokens": 0, "chunks": 0.5}) == 5


@pytest.mark.parametrize(
    ("result", "prices", "costs"),
    [
        (costing(counts=(600, 20), size=2_500_000), PRICES, (620_000, 0.149, None)),
        (costing(counts=(600, 20), size=2_500_000), {}, (620_000, None, None)),
        (costing(counts=(600, 20)), PRICES, (620_000, None, None)),  # its index is not known: no sum without it
        (costing(ms=2.5), {"tokens": 0}, (None, None, 2.5)),
        (costing(), None, (None, None, None)),
    ],
)
def test_the_cost_of_1000_questions(result: RunResult, prices: dict | None, costs: tuple) -> None:
    found = cost_per_1000(result, prices)
    assert list(found) == ["tokens", "money", "seconds"]
    assert list(found.values()) == [None if cost is None else pytest.approx(cost) for cost in costs]
    result.details["answers"] = {"seconds": 0.5}
    assert cost_per_1000(result)["seconds"] == 500


@pytest.mark.parametrize(
    ("prices", "message"),
    [
        ({"tokns": 1}, "unknown cost in prices: 'tokns'; did you mean 'tokens'?"),
        ({"tokens": -1}, "prices.tokens -1 must be a finite number of at least 0"),
        ({"tokens": float("nan")}, "prices.tokens nan must be a finite number"),
        ({"chunks": float("inf")}, "prices.chunks inf must be a finite number"),
        ({"tokens": True}, "prices.tokens True must be a finite number"),
        ({"index_mb": None}, "prices.index_mb None must be"),
        ({"tokens": "2e-7"}, "prices.tokens '2e-7' is a text; write a number such as 0.0000002 or 2.0e-7"),
    ],
)
def test_bad_prices_are_refused(prices: dict, message: str) -> None:
    for use in (
        check_prices,
        lambda prices: cost_per_1000(costing(), prices),
        lambda prices: cheapest_of([("a", costing())] * 2, BUDGET, prices),
    ):
        with pytest.raises(WorkbenchError) as error:
            use(prices)
        assert message in str(error.value)


def test_prices_weigh_costs_that_are_otherwise_taken_one_after_the_other() -> None:
    small, fast = costing(100, ms=9), costing(1000, ms=2)
    candidates = [("small", small), ("fast", fast)]
    assert cheapest_of(candidates, BUDGET)[1] == "Of those within one standard error of the best, fast is the fastest (2 ms a query). "
    assert cheapest_of(candidates, BUDGET, {"chunks": 1e-6, "latency_ms": 1e-5}) == (
        0,
        "Of those within one standard error of the best, small is the cheapest (0.19 for 1,000 questions at the prices given). ",
    )
    assert cheapest_of(candidates, BUDGET, {"chunks": 1e-9, "latency_ms": 1e-5})[0] == 1
    assert cheapest_of(candidates, BUDGET, {"chunks": 0}) == (0, "")  # what costs nothing decides nothing
