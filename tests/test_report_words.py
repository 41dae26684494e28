"""The headline never says more than the verdict; the limits fit the split."""

import numpy as np
import pytest
from factories import make_result

from workbench.report import compare
from workbench.report_words import headline, limits

BUDGET = "evidence_recall@512t"


def headline_of(*means: float, clusters: int = 25, missing: int = 0) -> str:
    groups = [f"g{number % clusters}" for number in range(100)]
    results = []
    for number, mean in enumerate(means):
        values = np.random.default_rng(number).normal(mean, 0.1, 100)
        values[:missing] = np.nan
        results.append(make_result({BUDGET: values}, groups, chunk_size=64 * 2**number))
    return headline(compare(results))


@pytest.mark.parametrize(
    ("words", "means", "changes"),
    [
        ("128 tokens is better than every other candidate", (0.2, 0.8, 0.5), {}),
        ("64 tokens scores highest, but 128 tokens cannot be told from it", (0.8, 0.8, 0.1), {}),
        ("64 tokens scores highest, but 2 others cannot be told from it", (0.81, 0.8, 0.8, 0.1), {}),
        ("No difference shown between the candidates", (0.5, 0.5), {}),
        ("One candidate: nothing to compare", (0.5,), {}),
        ("One document group: no difference can be shown", (0.1, 0.9), {"clusters": 1}),
        ("No verdict: too many questions have no score", (0.1, 0.9), {"missing": 3}),
        ("128 tokens is better than every other candidate", (0.1, 0.9), {"missing": 2}),
    ],
)
def test_headline(words: str, means: tuple[float, ...], changes: dict[str, int]) -> None:
    assert headline_of(*means, **changes) == words


def test_limits_name_the_missing_confirmation_and_few_groups() -> None:
    selected = make_result({BUDGET: [0.1, 0.2]}, split="selection")
    confirmed = make_result({BUDGET: [0.1] * 12}, split="confirmation")
    assert limits([selected])[0].startswith("Not confirmed on held-out questions")
    assert limits([selected, confirmed])[0].startswith("Not confirmed")
    assert limits([confirmed])[0].startswith("Measured on the confirmation questions")
    assert "fewer than 12 document groups" in limits([selected])[-1]
    assert "fewer than 12 document groups" not in limits([confirmed])[-1]
    assert any("generated answers" in words for words in limits([confirmed]))
