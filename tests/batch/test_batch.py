"""A data set of maps: equal to the explainer's, each picture once, whatever happened on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pytest
from PIL import Image

import fgcam_onnx
from fgcam_onnx.batch import Summary, explain_source, unpacked
from fgcam_onnx.errors import ImageError, OptionError
from fgcam_onnx.heads import Stated
from fgcam_onnx.imaging import find_sidecar, preprocess_from, read_image, read_labels

RESNET = "resnet_shapes.dynamo.onnx"
OPTIONS: dict[str, Any] = {"method": "gradcam", "batch": 2, "shard": 4, "workers": 2}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pictures(bundled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures and two files that are none."""
    folder = tmp_path_factory.mktemp("pictures")
    names = sorted(p.name for p in (bundled / "pictures").glob("*.png"))
    for n, name in enumerate((*names, names[0])):
        (folder / f"{n:02d}.png").write_bytes((bundled / "pictures" / name).read_bytes())
    (folder / "05b.png").write_bytes(b"no picture")
    (folder / "07b.png").write_bytes((folder / "07.png").read_bytes()[:900])
    return folder


def rows(sink: Path) -> pa.Table:
    return pyarrow.dataset.dataset(sink).to_table().sort_by([("id", "ascending"), ("layer", "ascending")])


def explained(bundled: Path, pictures: Path, sink: Path, **options: Any) -> Summary:
    """Run what the command line runs, with the names of classes that it takes from beside the model."""
    labels = tuple(read_labels(bundled / "shapes.labels.txt"))
    options = {"labels": labels, "head": Stated(labels=labels), **OPTIONS, **options}
    return explain_source(bundled / RESNET, str(pictures), sink=sink, **options)


def test_rows_hold_what_the_explainer_gives(bundled: Path, pictures: Path, tmp_path: Path) -> None:
    labels = read_labels(bundled / "shapes.labels.txt")
    summary = explained(bundled, pictures, tmp_path / "s", packing="float32", layers=["layer2", "layer3"])
    found = rows(tmp_path / "s")
    assert (summary.pictures, summary.rows, summary.errors) == (12, 22, {"decode": 2})
    model = fgcam_onnx.load(bundled / RESNET)
    explainer = fgcam_onnx.Explainer(model, method="gradcam", layers=["layer2", "layer3"], batch=2, threads=1)
    preprocess = preprocess_from(find_sidecar(bundled / RESNET)).bound(model.inputs[0].shape, np.float32)
    good = [p for p in sorted(pictures.iterdir()) if "b" not in p.stem]
    maps = unpacked(found)
    for row, values in zip(found.to_pylist(), maps, strict=True):
        if row["error"]:
            assert row["failed"] == "decode"
            assert row["id"] in row["error"]
            assert values is None
            continue
        alone = explainer(preprocess(read_image(pictures / row["id"])))
        assert values is not None
        np.testing.assert_allclose(values, alone.maps[row["layer"]][0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(row["score"], alone.score[0], rtol=1e-5)
        assert row["target"] == alone.target[0]
        assert row["label"] == labels[row["target"]]
        assert row["probability"] == pytest.approx(np.exp(row["score"]) / np.exp(alone.scores[0]).sum(), rel=1e-4)
    assert {r["id"] for r in found.to_pylist() if not r["error"]} == {p.name for p in good}


@pytest.mark.parametrize(("packing", "worst"), [("float16", 2**-10), ("uint8", 1 / 500)])
def test_packed_maps_are_within_their_step(
    bundled: Path, pictures: Path, tmp_path: Path, packing: Any, worst: float
) -> None:
    explained(bundled, pictures, tmp_path / "exact", packing="float32")
    explained(bundled, pictures, tmp_path / "small", packing=packing)
    for exact, small in zip(unpacked(rows(tmp_path / "exact")), unpacked(rows(tmp_path / "small")), strict=True):
        if exact is not None and small is not None:
            span = float(max(abs(exact.max()), abs(exact.min()), np.ptp(exact)))
            np.testing.assert_allclose(small, exact, rtol=0, atol=worst * span)


def test_maps_can_be_left_out_and_top_classes_asked_for(bundled: Path, pictures: Path, tmp_path: Path) -> None:
    explained(bundled, pictures, tmp_path / "s", packing="none", top=3, limit=2)
    found = rows(tmp_path / "s")
    assert found.num_rows == 6
    assert unpacked(found) == [None] * 6
    assert found["shape"].to_pylist() == [[6, 6]] * 6
    assert len({(r["id"], r["target"]) for r in found.to_pylist()}) == 6


def test_a_run_goes_on_to_the_same_rows(bundled: Path, pictures: Path, tmp_path: Path) -> None:
    explained(bundled, pictures, tmp_path / "whole")
    asked = iter([True])
    first = explained(bundled, pictures, tmp_path / "s", stop=lambda: next(asked))
    assert (first.pictures, first.stopped) == (4, "it was interrupted")
    assert not [n for n in os.listdir(tmp_path / "s") if n.startswith("_trying")]
    with pytest.raises(OptionError, match="pass --resume"):
        explained(bundled, pictures, tmp_path / "s")
    second = explained(bundled, pictures, tmp_path / "s", resume=True)
    assert (second.pictures, second.now, second.stopped) == (12, 8, "")
    assert rows(tmp_path / "s").equals(rows(tmp_path / "whole"))
    told = json.loads((tmp_path / "s" / "_manifest.json").read_text())
    assert told["complete"] is True
    assert sum(s["pictures"] for s in told["shards"]) == 12


def test_another_model_other_options_and_other_pictures_are_refused(
    bundled: Path, pictures: Path, tmp_path: Path
) -> None:
    explained(bundled, pictures, tmp_path / "s", limit=6)
    run: dict[str, Any] = {"sink": tmp_path / "s", "resume": True}
    run |= {"labels": (labels := tuple(read_labels(bundled / "shapes.labels.txt"))), "head": Stated(labels=labels)}
    with pytest.raises(OptionError, match=r'method "gradcam" then, "layercam" now'):
        explain_source(bundled / RESNET, str(pictures), **run, **OPTIONS | {"method": "layercam"})
    with pytest.raises(OptionError, match=r"the run differs: model .* then, .* now"):
        explain_source(bundled / "vgg_shapes.dynamo.onnx", str(pictures), **run, **OPTIONS)
    with pytest.raises(OptionError, match=r'map "float16" then, "uint8" now'):
        explained(bundled, pictures, tmp_path / "s", resume=True, packing="uint8")
    others = tmp_path / "others"
    others.mkdir()
    for n in range(12):
        Image.new("RGB", (8, 8)).save(others / f"{n}.png")
    with pytest.raises(OptionError, match="holds other pictures than the source has now"):
        explain_source(bundled / RESNET, str(others), **run, **OPTIONS)
    assert explained(bundled, pictures, tmp_path / "s", resume=True).pictures == 12


def test_a_sink_in_which_nothing_stands_is_begun_anew(bundled: Path, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="no picture in it"):
        explained(bundled, tmp_path / "empty", tmp_path / "s", packing="uint8")
    (tmp_path / "s" / "notes.tmp").write_text("someone's own")
    assert explained(bundled, pictures, tmp_path / "s", limit=2).pictures == 2
    assert (tmp_path / "s" / "notes.tmp").read_text() == "someone's own"


def test_a_broken_tar_is_a_row_and_the_other_pictures_are_done(bundled: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with tarfile.open(tmp_path / "in" / "a.tar", "w") as tar:
        for name in ("circle.png", "heart.png"):
            tar.add(bundled / "pictures" / name, name)
    with tarfile.open(tmp_path / "in" / "a.tar") as tar:
        second = tar.getmembers()[1].offset
    whole = (tmp_path / "in" / "a.tar").read_bytes()
    (tmp_path / "in" / "a.tar").write_bytes(whole[:second] + b"?" + whole[second + 1 :])
    (tmp_path / "in" / "b.png").write_bytes((bundled / "pictures" / "star.png").read_bytes())
    summary = explained(bundled, tmp_path / "in", tmp_path / "s")
    assert (summary.pictures, summary.errors) == (3, {"read": 1})
    found = {row["id"]: row["error"] for row in rows(tmp_path / "s").to_pylist()}
    assert found.pop("a.tar") == f"a.tar: cannot be read (no header of a tar: what follows byte {second} is left out)"
    assert found == {"a.tar/circle.png": None, "b.png": None}


def test_too_many_errors_stop_it(bundled: Path, pictures: Path, tmp_path: Path) -> None:
    summary = explained(bundled, pictures, tmp_path / "s", max_errors=0)
    assert (summary.shards, summary.stopped) == (2, "more than 0 pictures failed")


def test_a_second_run_on_the_same_sink_is_refused(bundled: Path, pictures: Path, tmp_path: Path) -> None:
    def second() -> bool:
        with pytest.raises(OptionError, match="another run is writing it"):
            explained(bundled, pictures, tmp_path / "s", resume=True)
        return True

    explained(bundled, pictures, tmp_path / "s", stop=second)


def test_a_sink_behind_a_url_holds_the_same(bundled: Path, pictures: Path, tmp_path: Path) -> None:
    explained(bundled, pictures, tmp_path / "s")
    explained(bundled, pictures, "memory://sink/maps")  # type: ignore[arg-type]
    import fsspec

    files = fsspec.filesystem("memory")
    names = sorted(n for n in files.ls("/sink/maps", detail=False) if n.endswith(".parquet"))
    parts = [pyarrow.parquet.read_table(files.open(n)) for n in names]
    assert pa.concat_tables(parts).sort_by("id").equals(rows(tmp_path / "s"))


def started(bundled: Path, pictures: Path, sink: Path, *more: str, before: str = "") -> subprocess.Popen[str]:
    """Run the command in a process of its own, after the statements ``before``."""
    arguments = [
        "batch", str(bundled / RESNET), str(pictures), "-o", str(sink), "--method", "gradcam", "--batch-size", "2",
        "--shard", "4", "--workers", "2", *more,
    ]  # fmt: skip
    code = f"import os, sys\n{before}\nsys.argv[1:] = {arguments!r}\nfrom fgcam_onnx.cli import main\nmain()"
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, err = process.communicate(timeout=120)
    return process.returncode, err


def wait_for(path: Path) -> None:
    for _ in range(6000):
        if path.exists():
            return
        time.sleep(0.01)
    raise AssertionError(path)


SLOW = "import time, fgcam_onnx.batch.line as l\nf = l.prepared\nl.prepared = lambda *a: (time.sleep(0.3), f(*a))[1]"


def test_a_killed_run_loses_a_shard_at_most(bundled: Path, pictures: Path, tmp_path: Path) -> None:
    explained(bundled, pictures, tmp_path / "whole")
    process = started(bundled, pictures, tmp_path / "s", before=SLOW)
    wait_for(tmp_path / "s" / "part-00000001.parquet")
    process.send_signal(signal.SIGKILL)
    ended(process)
    assert [n for n in os.listdir(tmp_path / "s") if n.startswith("_trying")]
    assert rows(tmp_path / "s").num_rows == 8
    code, err = ended(started(bundled, pictures, tmp_path / "s", "--resume"))
    assert code == 1, err
    assert rows(tmp_path / "s").equals(rows(tmp_path / "whole"))
    assert not [n for n in os.listdir(tmp_path / "s") if n.startswith(("_trying", ".part"))]


def test_an_interrupt_finishes_the_shard_and_says_how_to_go_on(bundled: Path, pictures: Path, tmp_path: Path) -> None:
    process = started(bundled, pictures, tmp_path / "s", before=SLOW)
    wait_for(tmp_path / "s" / "_trying-00000000.json")
    process.send_signal(signal.SIGINT)
    code, err = ended(process)
    assert code == 130
    assert "finishing the shards at hand" in err
    assert "give the same command with --resume" in err
    assert rows(tmp_path / "s").num_rows == 4


def test_a_second_interrupt_leaves_at_once(bundled: Path, pictures: Path, tmp_path: Path) -> None:
    process = started(bundled, pictures, tmp_path / "s", before=SLOW.replace("0.3", "20"))
    wait_for(tmp_path / "s" / "_trying-00000000.json")
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    code, err = ended(process)
    assert (code, time.monotonic() - start < 10) == (130, True)
    assert "left at once" in err


POISON = (
    "import fgcam_onnx.batch.job as j\nf = j.decode_image\n"
    "j.decode_image = lambda data, *, name, white: os._exit(9) if name == '06.png' else f(data, name=name, white=white)"
)


def test_what_a_process_dies_over_is_found_and_left(bundled: Path, pictures: Path, tmp_path: Path) -> None:
    """The picture is the last of the second batch of the second shard; deaths before are told by the mark."""
    explained(bundled, pictures, tmp_path / "whole")
    mark = tmp_path / "s" / "_trying-00000001.json"
    explained(bundled, pictures, tmp_path / "s", limit=4)
    mark.write_text("{}")
    code, _ = ended(started(bundled, pictures, tmp_path / "s", "--resume", before=POISON))
    assert code == 9
    assert json.loads(mark.read_text())["at"] == "1"
    mark.write_text(json.dumps({"deaths": {"1": 2, "1.1": 1}, "at": "1.1"}))
    summary = explained(bundled, pictures, tmp_path / "s", resume=True)
    assert summary.errors == {"decode": 2, "died": 1}
    found, whole = (rows(tmp_path / name).to_pylist() for name in ("s", "whole"))
    assert [row["id"] for row in found] == [row["id"] for row in whole]
    (left,) = (row for row in found if row["failed"] == "died")
    assert left["error"] == f"{left['id']}: left out, the process died over it 2 times"
    assert [row["id"] for row, other in zip(found, whole, strict=True) if row["target"] != other["target"]] == [
        left["id"]
    ]
    assert not mark.exists()


def test_a_shard_that_a_process_died_over_once_has_the_same_rows(bundled: Path, pictures: Path, tmp_path: Path) -> None:
    explained(bundled, pictures, tmp_path / "whole")
    explained(bundled, pictures, tmp_path / "s", limit=4)
    (tmp_path / "s" / "_trying-00000001.json").write_text("{}")
    explained(bundled, pictures, tmp_path / "s", resume=True)
    assert rows(tmp_path / "s").equals(rows(tmp_path / "whole"))


def test_the_mark_of_a_shard_that_stands_goes(bundled: Path, pictures: Path, tmp_path: Path) -> None:
    """A process that dies between a shard's file and its mark leaves both."""
    explained(bundled, pictures, tmp_path / "s", limit=8)
    for number in (0, 1):
        (tmp_path / "s" / f"_trying-0000000{number}.json").write_text("{}")
    explained(bundled, pictures, tmp_path / "s", resume=True)
    assert not [n for n in os.listdir(tmp_path / "s") if n.startswith("_trying")]
