"""Made-up candidates and the text of a page, for the tests of the run browser."""

import html
import re

from factories import make_result

from workbench.evaluation import RunResult

METRIC = "evidence_recall@512t"
CLUSTERS = [f"d{number // 2}" for number in range(40)]


def plain(page: str) -> str:
    """Return the text of a page."""
    return html.unescape(re.sub(r"<[^>]*>", " ", re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)))


def candidates(*means: float) -> list[RunResult]:
    """Make a result for each mean; they differ in their chunk size and their number of chunks."""
    results = []
    for number, mean in enumerate(means):
        scores = [float((question * 37 % 100) / 100 < mean) for question in range(40)]
        details = {"chunks": 100 * (number + 1), "index_bytes": 5_000_000}
        results.append(make_result({METRIC: scores}, CLUSTERS, chunk_size=64 + number, details=details))
    return results
