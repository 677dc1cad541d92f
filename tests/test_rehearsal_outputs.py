"""What a rehearsal has found, as a comment of a pull request, as a report of tests, and as a picture."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from safemigrations.rehearsing.changes import Touched
from safemigrations.rehearsing.junit import junit
from safemigrations.rehearsing.markdown import markdown
from safemigrations.rehearsing.picture import picture
from safemigrations.rehearsing.result import Finding, Phase, Rehearsal, Request

CAUSE = Touched("shop", "0002_note", 0, "AddField(order.note)", "shop/migrations/0002_note.py", 9, "shop.order")
MESSAGE = 'null value in column "note"\nDETAIL:  \x00 <row>'


@pytest.fixture
def rehearsal():
    phases = [
        Phase("old alone", 0.5, 0.3, 1204, 0, 0, 0.009, [(0.5, 400, 0, 0.001), (0.7, 804, 0, 0.009)]),
        Phase("both releases", 2.0, 0.2, 900, 12, 1, 0.041, [(2.0, 500, 12, 0.041), (2.1, 400, 0, 0.002)]),
        Phase("a < b", 3.0, 0.1, 0, 0, 0, 0, []),
    ]
    findings = [
        Finding(
            "error",
            "old",
            "both releases",
            MESSAGE,
            "23502",
            [Request("shop.order", "create()", ["both releases"], 12)],
            CAUSE,
            "Write this:\nAddFieldWithDefault(…)",
        ),
        Finding("schema", "new", "new alone", "column shop_order.note is missing"),
    ]
    return Rehearsal(
        "3f2a91c (main)", "working tree", "test_shop_rehearsal", ["shop.0002_note"], phases, findings, ["A note."], 21
    )


def test_a_comment_of_a_pull_request(rehearsal):
    assert markdown(rehearsal) == (
        "### Rehearsal of the rollout\n\n"
        "2 findings. It took 21 s.\n\n"
        "Old release: 3f2a91c (main). New release: working tree.\n\n"
        "| | requests | errors | lost values | worst wait |\n"
        "|---|--:|--:|--:|--:|\n"
        "| old alone | 1,204 | 0 | 0 | 9 ms |\n"
        "| both releases | 900 | 12 | 1 | 41 ms |\n"
        "| a < b | 0 | 0 | 0 | 0 ms |\n\n"
        '```\nnull value in column "note"\n  DETAIL:  \x00 <row>\n'
        "  12 times, of the old release, both releases\n"
        "  shop.order: create()\n"
        "  since shop/migrations/0002_note.py:9 AddField(order.note)\n"
        "  Write this:\n  AddFieldWithDefault(…)\n```\n\n"
        "```\ncolumn shop_order.note is missing\n  of the new release, new alone\n```\n\n"
        "- A note."
    )


def test_a_report_of_tests(rehearsal):
    assert junit(rehearsal) == (
        '<testsuites tests="4" failures="2" time="21.000">\n'
        '  <testsuite name="rehearsal of shop.0002_note" tests="4" failures="2" errors="0" skipped="0" time="21.000">\n'
        '    <testcase classname="rehearsal" name="old alone" time="0.300" />\n'
        '    <testcase classname="rehearsal" name="a &lt; b" time="0.100" />\n'
        '    <testcase classname="rehearsal.both releases"'
        ' name="error, old release: null value in column &quot;note&quot;" time="0">\n'
        '      <failure type="error" message="null value in column &quot;note&quot;">null value in column "note"\n'
        "  DETAIL:  � &lt;row&gt;\n"
        "  12 times, of the old release, both releases\n"
        "  shop.order: create()\n"
        "  since shop/migrations/0002_note.py:9 AddField(order.note)\n"
        "  Write this:\n"
        "  AddFieldWithDefault(…)</failure>\n"
        "    </testcase>\n"
        '    <testcase classname="rehearsal.new alone" name="schema, new release: column shop_order.note is missing"'
        ' time="0">\n'
        '      <failure type="schema" message="column shop_order.note is missing">column shop_order.note is missing\n'
        "  of the new release, new alone</failure>\n"
        "    </testcase>\n"
        "  </testsuite>\n"
        "</testsuites>"
    )


SVG = "{http://www.w3.org/2000/svg}"


def bars(drawn: str, kind: str) -> list[tuple[float, float]]:
    """Where each bar of a kind begins, and how tall it is."""
    rects = [rect for rect in ElementTree.fromstring(drawn).iter(f"{SVG}rect") if rect.get("class") == kind]
    return [(float(rect.get("x", "")), float(rect.get("height", ""))) for rect in rects]


def test_the_picture_has_a_bar_for_each_tenth_of_a_second_in_which_something_was(rehearsal):
    drawn = picture(rehearsal)
    assert [len(bars(drawn, kind)) for kind in ("requests", "wait", "error")] == [4, 4, 1]
    (first, low), (_, high), (third, _), _ = bars(drawn, "requests")
    assert low == pytest.approx(high * 400 / 804, abs=0.1)
    (failed,) = bars(drawn, "error")
    assert failed[0] == third > first


def test_the_picture_leaves_out_phases_without_requests(rehearsal):
    texts = [text.text for text in ElementTree.fromstring(picture(rehearsal)).iter(f"{SVG}text")]
    assert "both releases" in texts
    assert "900 requests, 12 errors, 1 lost, worst wait 41 ms" in texts
    assert "a < b" not in texts
    assert len(bars(picture(rehearsal), "odd") + bars(picture(rehearsal), "even")) == 2


def test_the_picture_can_be_read_in_the_dark(rehearsal):
    style = ElementTree.fromstring(picture(rehearsal)).find(f"{SVG}style")
    assert style is not None
    light, dark = str(style.text).split("@media (prefers-color-scheme: dark)")
    named = re.findall(r"\.(\w+) \{[^}]*(?:fill|stroke): #", light)
    assert set(re.findall(r"\.(\w+) \{", dark)) == set(named)


def test_a_rehearsal_of_nothing_can_be_drawn():
    assert bars(picture(Rehearsal("a", "b", "c", [])), "requests") == []
