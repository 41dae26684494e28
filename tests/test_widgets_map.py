"""The map of a question and the chunks: a plane that is the same every time, and a drawing that says what it leaves out."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shown_page import NASTY

from workbench.datatypes import Chunk, Span
from workbench.widgets_map import MAX_DRAWN, MAX_FITTED, fit_plane, map_view, no_map
from workbench.widgets_style import visible

SVG = re.compile("<svg.*?</svg>", re.DOTALL)


@pytest.fixture(autouse=True, scope="module")
def _english():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_LANG", "en")
        yield


def make_chunks(count: int, text: str = "text", title: str = "") -> list[Chunk]:
    return [Chunk(Span("d", 10 * number, 10 * number + len(text)), text, title) for number in range(count)]


def kinds(page: str) -> dict[str, list[str]]:
    """Return the tooltips by the kind of their mark, and check that the drawing is well formed."""
    found: dict[str, list[str]] = {}
    for group in ElementTree.fromstring(SVG.search(page)[0]).iter("g"):
        title, shape = group[0], group[1]
        found.setdefault(f"{shape.tag} {shape.get('class')}", []).append(title.text)
    return found


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_the_plane_is_that_of_the_largest_variance(seed, count, width):
    vectors = np.random.default_rng(seed).normal(size=(count, width)) * np.linspace(3, 0.5, width)
    plane = fit_plane(vectors)
    places = plane.place(vectors)
    assert places.shape == (count, 2)
    total = vectors.var(axis=0).sum()
    if total > 1e-9:
        assert plane.shares == pytest.approx(places.var(axis=0) / total, abs=1e-9)
        eigenvalues = np.linalg.eigvalsh(np.cov(vectors.T, bias=True).reshape(width, width))[::-1]
        assert sum(plane.shares) == pytest.approx(eigenvalues[:2].sum() / total)
    assert plane.shares[0] >= plane.shares[1] >= 0
    again = fit_plane(vectors.astype(np.float32)[:, ::-1][:, ::-1])
    assert np.allclose(again.place(vectors), places, atol=1e-3)  # no sign flips
    for axis in plane.axes:
        assert axis[np.argmax(np.abs(axis))] >= 0


def test_equal_vectors_lie_in_one_point():
    plane = fit_plane(np.ones((3, 4)))
    assert plane.shares == (0, 0)
    assert not plane.place(np.ones((3, 4))).any()
    page = map_view(plane, np.zeros((3, 2)), np.zeros(2), make_chunks(3), {0: 1}, set())
    assert "nan" not in page
    assert "0% of the variance" in page


def test_many_vectors_are_thinned_out_evenly():
    vectors = np.random.default_rng(0).normal(size=(3 * MAX_FITTED, 6)) * [9, 5, 1, 1, 1, 1]
    assert sum(fit_plane(vectors).shares) == pytest.approx(106 / 110, abs=0.02)


def test_shapes_tell_hits_evidence_and_the_question_apart():
    points = np.random.default_rng(1).normal(size=(6, 2))
    page = map_view(fit_plane(points), points, np.zeros(2), make_chunks(6, title="T"), {4: 1, 2: 2}, {2, 5})
    assert kinds(page) == {
        "circle other": ["T – text"] * 3,
        "rect missed": ["evidence, not found: T – text"],
        "rect reached": ["hit 2, evidence: T – text"],
        "circle hit": ["hit 1: T – text"],
        "polygon question": ["question"],
    }
    assert re.findall(r"<text [^>]*>(\d+)</text>", page) == ["2", "1"]  # the best on top
    drawing = ElementTree.fromstring(SVG.search(page)[0])
    assert drawing.get("role") == "img"
    assert drawing.get("aria-label") == drawing[0].text == "Map of the question and 6 chunks"
    assert "100% of the variance: distances are distorted." in drawing[1].text
    assert "are drawn" not in page
    numbers = [float(value) for shape in drawing.iter() for name, value in shape.items() if name in ("x", "cx")]
    assert min(numbers) >= 0
    assert max(numbers) <= 400


def test_of_many_chunks_hits_and_evidence_are_always_drawn():
    points = np.random.default_rng(1).normal(size=(2000, 2))
    page = map_view(fit_plane(points), points, np.zeros(2), make_chunks(2000), {1999: 1, 3: 2}, {7})
    found = kinds(page)
    assert len(found["circle other"]) == MAX_DRAWN
    assert (len(found["circle hit"]), len(found["rect missed"])) == (2, 1)
    assert f"{MAX_DRAWN + 3} of 2,000 chunks are drawn." in page
    assert len(page) < 60_000


def test_untrusted_text_stays_text(monkeypatch):
    monkeypatch.setenv("WORKBENCH_LANG", "ko")
    page = map_view(fit_plane(np.eye(2)), np.eye(2), np.zeros(2), make_chunks(2, NASTY, NASTY), {0: 1}, {1})
    assert "<script" not in page + no_map(NASTY)
    assert "<img" not in page + no_map(NASTY)
    assert kinds(page)["circle hit"][0].startswith(f"1위: {visible(' '.join(NASTY.split()))[:20]}")
