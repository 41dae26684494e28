"""Plots show every value where it is, name everything in text, and let no text of others through."""

import re
import xml.etree.ElementTree as ET
from importlib import resources
from itertools import pairwise

import pytest
from factories import make_result, make_results

from workbench.report import compare
from workbench.report_svg import Axis, budget_plot, budgets, choose_curves, fit_axis, interval_plot, measure, own, safe, spread, wrap
from workbench.stats import Interval

BUDGET = "evidence_recall@512t"
CSS = resources.files("workbench").joinpath("templates", "report.css").read_text("utf-8")
SVG = "{http://www.w3.org/2000/svg}"


def drawings(markup: str) -> list[ET.Element]:
    root = ET.fromstring(f'<div xmlns="http://www.w3.org/2000/svg">{markup}</div>')
    assert [child.tag for child in root] == [f"{SVG}svg"] * 2
    return list(root)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>alert('x')</script>", "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;"),
        ('" onerror="alert(1)', "&quot; onerror=&quot;alert(1)"),
        ("a & b &amp; c", "a &amp; b &amp;amp; c"),
        ("한국어 👩‍👧 é", "한국어 👩‍👧 é"),
        ("\x00\x1b[31m\x7f\x9b", "��[31m��"),
        ("\u202egnp.exe \ud800 \uffff", "�gnp.exe � �"),
        ("one\r\ntwo\rthree\tfour", "one\ntwo\nthree\tfour"),
        (None, "None"),
    ],
)
def test_safe_shows_and_never_interprets(text: object, shown: str) -> None:
    assert safe(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("squad:/srv/me/data/KorQuAD.json", "squad:…/KorQuAD.json"),
        ("no such file: /srv/사내/문서.txt, line 3", "no such file: …/문서.txt, line 3"),
        ("jsonl:C:\\Users\\me\\set", "jsonl:…/set"),
        ("D:/data/set/questions.csv", "…/questions.csv"),
        ("see file:///tmp/a/b.html", "see …/b.html"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("st:intfloat/multilingual-e5-small", "st:intfloat/multilingual-e5-small"),
        ("params/01_chunk_sizing.sweep.yaml 3/12 and/or", "params/01_chunk_sizing.sweep.yaml 3/12 and/or"),
    ],
)
def test_own_takes_folders_out_of_paths(text: str, shown: str) -> None:
    assert own(text) == shown


def test_axis_maps_values_and_ticks_are_round() -> None:
    axis = Axis(0.2, 0.7, 100, 600)
    assert axis(0.2) == 100
    assert axis(0.45) == pytest.approx(350)
    assert axis.ticks(6) == pytest.approx([0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    assert axis.ticks(3) == pytest.approx([0.2, 0.4, 0.6])
    assert Axis(-0.1, 1.2, 0, 1).ticks(3) == [0, 0.5, 1]


def test_the_axis_shows_all_bounds_and_survives_equal_or_unknown_ones() -> None:
    axis = fit_axis([Interval(0.5, 0.3, 0.8, 9, 3), Interval(0.9, float("nan"), float("nan"), 9, 1)], 0, 100)
    assert axis.low < 0.3
    assert axis.high > 0.9
    flat = fit_axis([Interval(1, 1, 1, 9, 3)], 0, 100)
    assert (flat.low, flat.high) == pytest.approx((0.95, 1.05))


def test_labels_break_between_fields_and_no_line_is_too_wide() -> None:
    assert wrap("recursive · 256 tokens · bm25:word", 200) == ["recursive · 256 tokens ·", "bm25:word"]
    assert wrap("한" * 30, 200) == ["한" * 15, "한" * 15]
    for label in ("x" * 100, "가나다 · " * 20 + "z" * 60, "a"):
        assert all(measure(line) <= 120 for line in wrap(label, 120))
        assert "".join(wrap(label, 120)).replace(" ", "") == label.replace(" ", "")


def test_labels_at_line_ends_never_cover_one_another() -> None:
    heights = [20.0, 40.0, 20.0]
    centres = spread([95.0, 95.0, 99.0], heights, 100)
    boxes = sorted((centre - height / 2, centre + height / 2) for centre, height in zip(centres, heights, strict=True))
    assert all(low >= before - 1e-9 for (_, before), (low, _) in pairwise(boxes))
    assert boxes[-1][1] <= 100
    assert centres[0] < centres[1] < centres[2]
    assert spread([10.0, 50.0], [20.0, 20.0], 100) == [10.0, 50.0]


def test_the_interval_plot_marks_best_tied_controls_and_baseline() -> None:
    results = make_results()
    comparison = compare(results, baseline=results[4].config_id)
    for drawing in drawings(interval_plot(comparison, "a")):
        marks = [group.get("class") for group in drawing.iter(f"{SVG}g")]
        assert marks[0] == "mark best"
        assert marks.count("mark tied") == sum(row.tied for row in comparison.rows) - 1
        assert sum("hollow" in mark for mark in marks) == 2
        assert len([line for line in drawing.iter(f"{SVG}line") if line.get("class") == "base"]) == 1
        assert len(list(drawing.iter(f"{SVG}rect"))) == 0  # no bars
        title, description = drawing[0].text, drawing[1].text
        assert title == "evidence_recall@512t of 12 candidates, mean with 95 % interval"
        assert all(row.label in description for row in comparison.rows)
        assert "recursive · 128 tokens · random: 0.1" in description
        assert drawing.get("aria-labelledby").split() == [drawing[0].get("id"), drawing[1].get("id")]


def test_a_dot_stands_at_its_mean_and_its_interval_ends_at_its_bounds() -> None:
    comparison = compare(make_results())
    drawing = drawings(interval_plot(comparison, "a"))[0]
    ticks = {float(text.text): float(text.get("x")) for text in drawing.iter(f"{SVG}text") if re.fullmatch(r"0\.\d\d", text.text)}
    (low, start), *_, (high, end) = sorted(ticks.items())
    groups = list(drawing.iter(f"{SVG}g"))
    assert len(ticks) > 5
    for row, group in list(zip(comparison.rows, groups, strict=True))[1:]:
        reach, dot = group.find(f"{SVG}line"), group.find(f"{SVG}circle")
        for value, x in ((row.interval.mean, dot.get("cx")), (row.interval.low, reach.get("x1")), (row.interval.high, reach.get("x2"))):
            assert float(x) == pytest.approx(start + (value - low) / (high - low) * (end - start), abs=0.2)


def test_one_candidate_has_no_baseline_and_one_group_no_interval() -> None:
    comparison = compare([make_result({BUDGET: [0.5, 0.7]}, ["a", "a"])])
    for drawing in drawings(interval_plot(comparison, "a")):
        assert {line.get("class") for line in drawing.iter(f"{SVG}line")} == {"grid"}
        assert "0.600 [unknown]" in drawing[1].text


def test_at_most_eight_curves_with_best_baseline_and_controls() -> None:
    results = make_results(copies=2)
    comparison = compare(results, baseline=results[9].config_id)
    chosen = choose_curves(comparison)
    assert len(chosen) == 8
    assert chosen[0].best
    assert sum(row.control for row in chosen) == 2
    assert sum(row.difference is None for row in chosen) == 1
    assert [comparison.rows.index(row) for row in chosen] == sorted(comparison.rows.index(row) for row in chosen)
    assert len(choose_curves(compare(results[:3]))) == 3


def test_curves_pass_through_the_means_at_every_budget() -> None:
    comparison = compare(make_results()[:3])
    assert budgets([row.result for row in comparison.rows]) == [256, 512, 1024, 2048]
    for drawing in drawings(budget_plot(comparison, "b", characters_per_token=1.5)):
        curves = {group[0].text: group for group in drawing.iter(f"{SVG}g")}
        assert set(curves) == {row.label for row in comparison.rows}
        for group in curves.values():
            points = [tuple(map(float, point.split(","))) for point in group.find(f"{SVG}polyline").get("points").split()]
            steps = [right[0] - left[0] for left, right in pairwise(points)]
            assert len(points) == 4
            assert steps == pytest.approx([steps[0]] * 3, abs=0.2)  # each doubling is as wide as the next
            assert len([line for line in group.iter(f"{SVG}line") if line.get("class") == "whisker"]) == 4
        words = [text.text for text in drawing.iter(f"{SVG}text")]
        assert {"256", "2,048", "≈ 384", "≈ 3,072"} <= set(words)
        best = comparison.rows[0]
        assert f"{best.label}: 256 tokens {best.result.interval('evidence_recall@256t').mean:.3f}" in drawing[1].text


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(left: str, right: str) -> float:
    high, low = sorted((luminance(left), luminance(right)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_and_marks_have_enough_contrast(theme: int) -> None:
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", CSS.split(":root {")[1 + theme].split("}")[0]))
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for text, grounds in {
        "ink": ("paper", "wash", "wash-best", "wash-error", "wash-warning"),
        "soft": ("paper", "wash", "wash-best"),
        "best": ("paper", "wash-best"),
        "error": ("paper", "wash-error"),
        "warning": ("paper", "wash-warning"),
    }.items():
        for ground in grounds:
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for mark in ("best", "tied", "other", "base", "hue1", "hue2", "hue3", "hue4"):
        assert contrast(colours[mark], colours["paper"]) >= 3, mark
