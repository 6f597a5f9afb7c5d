"""Pages are one file, their plots true to the numbers, their text never markup."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from fgcam_onnx.report import Point, dots, embedded, lines, render
from fgcam_onnx.report.pages import figures, script
from fgcam_onnx.report.plots import ticks


def evaluation(**values: object) -> str:
    empty = {
        "title": "t", "about": "a", "verdict": "v", "notes": [], "metrics": [], "rows": [], "differences": [],
        "reference": "r", "pictures": 0, "over_depth": True, "plots": [], "gallery": [], "values": [], "errors": {},
        "made": "m",
    }  # fmt: skip
    return render("evaluation.html", **{**empty, **values})


class Balanced(HTMLParser):
    """Fails where an element is closed that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_is_whole_and_asks_for_nothing_from_outside() -> None:
    page = evaluation(
        plots=[{"name": "x", "better": "higher", "svg": dots({"a": Point(1, 0, 2)}, kinds={"a": "s0"}, title="t")}]
    )
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert not re.search(r"(src|href)=[\"'](?!data:|#)", page)
    assert "http" not in page


def test_text_is_escaped_wherever_it_stands() -> None:
    evil = '</script><img src=x onerror="alert(1)">&'
    point = Point(0.5, 0.4, 0.6)
    page = evaluation(
        title=evil, about=evil, notes=[evil], reference=evil, errors={evil: evil}, values=[{evil: {evil: 1.0}}],
        plots=[
            {"name": evil, "better": "lower", "svg": dots({evil: point}, kinds={evil: "s0"}, title=evil)},
            {"name": evil, "better": "lower", "svg": lines({evil: {0: point}}, steps=[evil], title=evil)},
        ],
    )  # fmt: skip
    assert "<img src=x" not in page
    assert page.count("</script>") == page.count("<script")


def test_what_a_template_names_must_be_given() -> None:
    with pytest.raises(Exception, match="undefined"):
        render("evaluation.html", title="only")


def test_numbers_are_read_as_people_write_them() -> None:
    assert [figures(v) for v in (None, 0, 0.12345, -0.5, 0.0004, 123.456)] == [
        "–", "0.000", "0.123", "-0.500", "4.0e-04", "123",
    ]  # fmt: skip
    assert json.loads(str(script({"a<b>&": [1, None]})).encode().decode("unicode_escape")) == {"a<b>&": [1, None]}


def test_dots_stand_where_their_values_are() -> None:
    points = {"a": Point(0.2, 0.1, 0.4), "b": Point(0.8, 0.5, 0.9), "c": Point(0.5, 0.5, 0.5)}
    svg = str(dots(points, kinds=dict.fromkeys(points, "s0"), title="t"))
    centres = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', svg)]
    ends = np.array(re.findall(r'<line x1="([\d.]+)" x2="([\d.]+)" y1="(?:\d+)" y2', svg), float)[-3:]
    slope, offset = np.polyfit([0.2, 0.8], centres[:2], 1)
    assert_allclose(centres[2], slope * 0.5 + offset, atol=0.11)
    assert_allclose(ends, slope * np.array([[0.1, 0.4], [0.5, 0.9], [0.5, 0.5]]) + offset, atol=0.2)


def test_lines_go_up_where_values_do() -> None:
    series = {
        "a": {0: Point(0.1, 0, 0.2), 1: Point(0.5, 0.4, 0.6), 2: Point(0.9, 0.8, 1.0)},
        "b": {1: Point(0.3, 0.2, 0.4)},
    }
    svg = str(lines(series, steps=["x", "y", "z"], title="t"))
    path = re.search(r'<polyline points="([^"]+)"', svg)[1]
    xs, ys = np.array([p.split(",") for p in path.split()], float).T
    assert_allclose(np.diff(xs), xs[1] - xs[0], atol=0.11)
    assert (np.diff(ys) < 0).all()
    assert_allclose(np.diff(ys)[0], np.diff(ys)[1], atol=0.11)
    assert svg.count("<polyline") == 2


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.83, 0.91), (-3, 2), (0, 1e-4), (100, 2000)])
def test_ticks_are_few_and_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= 7
    assert all(low - 1e-9 <= t <= high + 1e-9 for t in found)
    assert_allclose(np.diff(found), found[1] - found[0], rtol=1e-6)


def test_embedded_pictures_keep_their_shape() -> None:
    import base64
    import io

    address = embedded(Image.new("L", (400, 100), 200), side=80)
    with Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))) as image:
        assert image.size == (80, 20)
        assert abs(image.getpixel((40, 10))[0] - 200) < 3
