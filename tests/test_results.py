"""The tool behind docs/results.md: it goes on where it was stopped, its tables are right, its figures are whole."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import claims
import drawings
import found
import numpy as np
import pytest
import reproduce
import studies
import subjects
from numpy.testing import assert_allclose

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "results.md").read_text()
METHODS = ("fgcam", "gradcam")


@pytest.fixture(scope="module")
def small() -> Iterator[studies.Study]:
    """Two rows and three metrics on six pictures, in two parts."""
    rows = tuple(v for v in studies.DEPTH if v.name in METHODS)
    asked = studies.Study("depth", rows, ("energy", "rank_drop", "insertion@"), stages=True, cuts=(2, 100))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subjects, "STUDIES", {"shapes": (asked,)})
        patch.setattr(subjects, "DRAWN", 6)
        yield asked


@pytest.fixture(scope="module")
def measured(small: studies.Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    reproduce.main([str(out), str(out), "--nets", "VGG"])
    return out


def stopped_after(count: int) -> Callable[..., Callable[[int], None]]:
    def follow(step: subjects.Step, *told: object, **more: object) -> Callable[[int], None]:
        def tell(done: int) -> None:
            if step.part == 1 and done == count:
                raise KeyboardInterrupt

        return tell

    return follow


def test_a_run_that_is_stopped_goes_on_to_the_same_bytes(
    small: studies.Study, measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [str(tmp_path), str(tmp_path), "--nets", "VGG"]
    with monkeypatch.context() as patch:
        patch.setattr(reproduce, "follow", stopped_after(2))
        with pytest.raises(KeyboardInterrupt):
            reproduce.main(arguments)
    assert not (tmp_path / "vgg" / "depth.1" / "evaluation.json").exists()
    reproduce.main(arguments)
    for name in ("vgg.json", "vgg/depth.0/rows.jsonl", "vgg/depth.1/rows.jsonl"):
        assert (tmp_path / name).read_bytes() == (measured / name).read_bytes()


def test_a_folder_of_other_rows_is_refused(
    small: studies.Study, measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fewer = dataclasses.replace(small, variants=small.variants[:1])
    monkeypatch.setattr(subjects, "STUDIES", {"shapes": (fewer,)})
    with pytest.raises(SystemExit, match=r"depth\.0 was measured with other methods: delete it"):
        reproduce.main([str(measured), str(measured), "--nets", "VGG"])


def test_a_difference_is_that_of_the_csv_turned_so_that_above_0_is_better(measured: Path) -> None:
    net = found.Found.read(measured / "vgg.json")
    written = [(measured / "vgg" / f"depth.{part}" / "evaluation.csv").read_text() for part in (0, 1)]
    rows = [row for text in written for row in csv.DictReader(io.StringIO(text))]
    layer = net.places[4]
    for metric, key, better in (("insertion@", "insertion@8", 1), ("rank_drop", "rank_drop", -1)):
        own, other = (
            {r["item"]: float(r[key]) for r in rows if r["row"] == f"{method} at {layer}"} for method in METHODS
        )
        expected = np.array([better * (own[p] - other[p]) for p in own])
        difference = found.differences([net], ("fgcam", 4), ("gradcam", 4), metric)
        assert difference is not None
        assert len(own) == difference.n == len(net.told["right"]) >= 5
        assert_allclose(difference.mean, expected.mean(), rtol=1e-12, atol=1e-12)
        assert expected.min() <= difference.low <= difference.mean <= difference.high <= expected.max()
    assert {float(r["energy"]) for r in rows if r["row"] == "control: boxes"} == {1.0}
    assert f"{expected.mean():+.3f}" in claims.tables([net])["middle, bundled"]


def test_nets_that_share_pictures_make_no_interval_narrower() -> None:
    values = dict(enumerate(np.random.default_rng(0).standard_normal(30)))
    alone, twice = found.mean([values]), found.mean([values, values])
    assert alone == twice
    assert twice is not None
    assert twice.n == 30


def test_the_page_has_a_place_for_every_table_and_nothing_else_changes() -> None:
    made = {name: f"new {name}\n" for name in claims.KINDS}
    page = claims.written(PAGE, made)
    assert all(f"<!-- {name} -->\n\nnew {name}\n\n<!-- end of {name} -->" in page for name in made)
    between = r"(<!-- ([^>]+) -->\n).*?(?=<!-- end of \2 -->)"
    assert re.sub(between, r"\1", page, flags=re.DOTALL) == re.sub(between, r"\1", PAGE, flags=re.DOTALL)
    assert claims.written(page, made) == page


def test_a_figure_is_one_file_in_light_and_dark_with_every_series(measured: Path) -> None:
    net = found.Found.read(measured / "vgg.json")
    svg = drawings.over_depth([net], "insertion@", METHODS, beside="edges", title="Insertion")
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {*METHODS, "input", "stride 4"} <= set(texts)
    assert len(list(root.iter("{http://www.w3.org/2000/svg}polyline"))) == 2
    assert "prefers-color-scheme:dark" in svg
    assert not re.search(r"(href|src|url\()", svg)
