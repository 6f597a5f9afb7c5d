"""Evaluations of the bundled nets."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import bundled as shapes
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.testing import assert_allclose
from PIL import Image

import fgcam_onnx
from fgcam_onnx import Explainer, evaluate, load
from fgcam_onnx.errors import OptionError
from fgcam_onnx.evaluation import Masks, Variant
from fgcam_onnx.evaluation.shuffling import shuffled, weights_of
from fgcam_onnx.imaging import find_sidecar, preprocess_from, read_image
from fgcam_onnx.lrp import linear
from fgcam_onnx.lrp.table import layered
from fgcam_onnx.metrics import CONTROLS, Case, Picture, find_metric
from fgcam_onnx.metrics.formulas import iou

VGG = "vgg_shapes.dynamo.onnx"
LAYER = "features.10"
ROOT = Path(fgcam_onnx.__file__).parent.parent


def test_numbers_are_those_of_the_model_run_by_hand(bundled: Path) -> None:
    """Against onnxruntime on the file, with masks made here."""
    x, classes = shapes.prepared(bundled, VGG)
    maps = Explainer(bundled / VGG, method="gradcam", layers=LAYER)(x, target=classes).map
    session = onnxruntime.InferenceSession(bundled / VGG)

    def probability(pictures: np.ndarray, target: int) -> float:
        logits = session.run(None, {"input": pictures.astype(np.float32)})[0][0].astype(np.float64)
        return float(np.exp(logits - logits.max())[target] / np.exp(logits - logits.max()).sum())

    found = evaluate(
        bundled / VGG, [bundled / "pictures" / f"{n}.png" for n in shapes.NAMES], methods=["gradcam"], layers=[LAYER],
        metrics=[find_metric(n) for n in ("drop", "iou", "energy")], regions=Masks(bundled / "pictures" / "masks"),
        classes={f"{n}.png": c for n, c in zip(shapes.NAMES, classes, strict=True)}, controls=(),
    )  # fmt: skip
    drops, shares = [], []
    for picture, raw, target, name in zip(x, maps, classes, shapes.NAMES, strict=True):
        wide = np.asarray(Image.fromarray(raw).resize((96, 96), Image.Resampling.BILINEAR), np.float64)
        positive = np.maximum(wide, 0) / max(wide.max(), 1e-30)
        whole, masked = probability(picture[None], target), probability((picture * positive)[None], target)
        drops.append(max(0, whole - masked) / whole)
        region = shapes.mask(bundled, name)
        shares.append(positive[region].sum() / positive.sum() if positive.any() else np.nan)
        found_iou = found.values(f"gradcam at {LAYER}", "iou")[found.items.index(f"{name}.png")]
        assert_allclose(found_iou, iou(np.argsort(-wide.reshape(-1)), region), atol=0.02)
    assert found.items == [f"{n}.png" for n in shapes.NAMES]
    assert_allclose(found.values(f"gradcam at {LAYER}", "drop"), drops, atol=1e-4)
    assert_allclose(found.values(f"gradcam at {LAYER}", "energy"), shares, rtol=1e-4)


def test_nothing_beats_the_masks_where_masks_are_asked_for_and_all_ones_win_the_drop(bundled: Path) -> None:
    found = evaluate(
        bundled / VGG, [bundled / "pictures"], methods=["fgcam"], layers=["input"],
        metrics=[find_metric("iou"), find_metric("drop"), find_metric("energy")],
        regions=Masks(bundled / "pictures" / "masks"),
    )  # fmt: skip
    lines = {line.label: line.values for line in found.lines}
    assert lines["control: boxes"]["iou"].mean == 1
    assert lines["control: boxes"]["energy"].mean == 1
    assert {m.name: found.won_by(m) for m in found.metrics}["energy"] == []
    assert "all ones" in found.won_by(found.metrics[1])
    assert lines["fgcam at input"]["iou"].n == 8
    assert lines["fgcam at input"]["drop"].n == 9


def test_a_file_of_another_layout_is_judged_alike(bundled: Path) -> None:
    found = [
        evaluate(bundled / f"vgg_shapes.{exporter}.onnx", [bundled / "pictures" / "s*.png"], methods=["fgcam"],
                 layers=["input"], controls=("edges",),
                 metrics=[find_metric(n) for n in ("rank_drop", "insertion", "max_sensitivity")])
        for exporter in ("torchscript", "keras")
    ]  # fmt: skip
    assert found[0].labels == found[1].labels
    for label in found[0].labels:
        for metric in found[0].metrics:
            assert_allclose(*(e.values(label, metric.name) for e in found), atol=2e-3)


def test_second_maps_are_of_other_classes_pictures_and_weights(bundled: Path) -> None:
    fixed = ("class_sensitivity", "random_logit", "sanity_cascading", "sanity_independent")
    found = evaluate(
        bundled / VGG, [bundled / "pictures" / "star.png"], methods=["fgcam"], layers=["input"],
        metrics=[find_metric(n) for n in (*fixed, "max_sensitivity")], controls=("edges", "all ones"),
    )  # fmt: skip
    own, edges, ones = (line.values for line in found.lines)
    for name in fixed:
        assert edges[name].mean == 1
        assert own[name].mean < 0.99
    assert ones["max_sensitivity"].mean == 0
    assert own["max_sensitivity"].mean > 0
    x, classes = shapes.prepared(bundled, VGG)
    star = shapes.NAMES.index("star")
    explainer = Explainer(bundled / VGG)
    logits = explainer.predict(x[[star]])[0]
    second = int(np.argsort(-logits)[1])
    a, b = (explainer(x[[star]], target=t).map[0].reshape(-1) for t in (classes[star], second))
    ranks = [np.argsort(np.argsort(v)) for v in (a, b)]
    assert_allclose(own["class_sensitivity"].mean, np.corrcoef(*ranks)[0, 1], atol=1e-3)


def test_shuffled_weights_keep_their_values_and_the_rest_of_the_model(bundled: Path) -> None:
    model = load(bundled / VGG)
    names = weights_of(model)
    assert len(names) == 9
    last = shuffled(model, "independent", place=0, seed=0)
    changed = [n for n in model.constants if not np.array_equal(model.constants[n], last.constants[n])]
    assert changed == [names[0]]
    assert_allclose(np.sort(last.constants[names[0]], None), np.sort(model.constants[names[0]], None), rtol=0)
    all_of_them = shuffled(model, "cascading", place=1, seed=0)
    assert all(not np.array_equal(model.constants[n], all_of_them.constants[n]) for n in names)
    assert isinstance(model.proto, onnx.ModelProto)


def test_a_picture_that_cannot_be_read_is_an_error_and_the_others_are_judged(bundled: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    found = evaluate(
        bundled / VGG, [bundled / "pictures" / "star.png", tmp_path / "bad.png"], methods=["gradcam"],
        metrics=[find_metric("drop")], controls=(), out=tmp_path / "out",
    )  # fmt: skip
    assert len(found.items) == len(found.errors) == 1
    assert "damaged" in next(iter(found.errors.values())) or "not a picture" in next(iter(found.errors.values()))
    rows = list(csv.DictReader((tmp_path / "out" / "evaluation.csv").read_text().splitlines()))
    assert [bool(row["error"]) for row in rows] == [False, True]
    assert "bad.png" in (tmp_path / "out" / "evaluation.html").read_text()


def test_what_cannot_be_is_refused_before_anything_runs(bundled: Path) -> None:
    pictures = [bundled / "pictures"]
    for match, options in {
        "energy need": {"metrics": [find_metric("energy")]},
        "no metric": {"metrics": []},
        "unknown control": {"controls": ["noise"]},
        "unknown row to compare with": {"against": "scorecam"},
        "name of its own": {"methods": ["gradcam", "gradcam"]},
        "no class is given for 8 of 9": {"classes": {"star.png": 1}},
        "unknown method": {"methods": ["gradcm"]},
    }.items():
        with pytest.raises(OptionError, match=match):
            evaluate(bundled / VGG, pictures, **{"methods": ["gradcam"], **options})
    with pytest.raises(OptionError, match="none of the 9 pictures"):
        evaluate(bundled / VGG, pictures, methods=["gradcam"], regions=Masks(bundled))


def test_methods_where_they_have_no_map_are_told_and_left_out(bundled: Path) -> None:
    found = evaluate(
        bundled / VGG, [bundled / "pictures" / "star.png"], methods=["gradcam", "occlusion"], layers=["input", LAYER],
        metrics=[find_metric("entropy")], controls=(), against=f"gradcam at {LAYER}",
    )  # fmt: skip
    assert [s.label for s in found.subjects] == ["gradcam at input", f"gradcam at {LAYER}", "occlusion at input"]
    assert any(note.startswith(f"occlusion at {LAYER}: ") for note in found.notes)
    assert found.reference == f"gradcam at {LAYER}"


def test_a_method_is_built_once_for_all_layers_where_it_has_a_map_at_each(
    bundled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[object] = []

    def counted(*given: object, layers: object, **options: object) -> Explainer:
        built.append(layers)
        return Explainer(*given, layers=layers, **options)

    monkeypatch.setattr("fgcam_onnx.evaluation.subjects.Explainer", counted)
    layers = ["features.3", LAYER, "features.23"]
    evaluate(
        bundled / VGG, [bundled / "pictures" / "star.png"], methods=["gradcam", "layercam"], layers=layers,
        metrics=[find_metric("gini")], controls=(),
    )  # fmt: skip
    assert built == [layers, layers]


def test_a_method_with_options_is_a_row_of_its_own(bundled: Path) -> None:
    variants = [
        Variant("plain", "lrp", {"composite": "epsilonplus"}),
        Variant("other", "lrp", {"composite": "epsilon"}),
    ]
    found = evaluate(
        bundled / VGG, [bundled / "pictures" / "star.png"], methods=variants, controls=(),
        metrics=[find_metric("gini")],
    )  # fmt: skip
    x, classes = shapes.prepared(bundled, VGG)
    star = shapes.NAMES.index("star")
    raw = Explainer(bundled / VGG, method="lrp", composite="epsilon")(x[[star]], target=classes[star]).map[0]
    expected = find_metric("gini").value(Case(Picture(x[star]), raw, lambda x, asked: x), {})
    assert_allclose(found.values("other at input", "gini"), expected, rtol=1e-6)
    assert found.values("plain at input", "gini") != found.values("other at input", "gini")


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def test_a_run_that_is_killed_goes_on_to_the_same_bytes(bundled: Path, tmp_path: Path) -> None:
    """SIGKILL at five moments; every file, the page among them, is that of a run that was left alone."""
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom fgcam_onnx import evaluate\n"
        "from fgcam_onnx.metrics import find_metric\n"
        "evaluate(sys.argv[1], [sys.argv[2]], methods=['gradcam'], out=sys.argv[3], batch=2, threads=1, pictures=2,\n"
        "  metrics=[find_metric('insertion', cells=16), find_metric('drop')], controls=('edges',),\n"
        "  progress=lambda done, total: Path(sys.argv[3], f'at.{done}').touch())\n"
    )
    arguments = [sys.executable, "-c", script, str(bundled / VGG), str(bundled / "pictures")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([*arguments, str(tmp_path / "whole")], env=environment, check=True)
    out = tmp_path / "killed"
    killed = 0
    for done in (0, 2, 4, 6, 8):
        process = subprocess.Popen([*arguments, str(out)], env=environment)
        until = time.monotonic() + 60
        while not (out / f"at.{done}").exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    assert killed >= 4
    subprocess.run([*arguments, str(out)], env=environment, check=True)
    assert files(out) == files(tmp_path / "whole")


def test_a_folder_of_another_run_is_refused(bundled: Path, tmp_path: Path) -> None:
    common = {"methods": ["gradcam"], "controls": (), "out": tmp_path}
    pictures = [bundled / "pictures" / "star.png"]
    evaluate(bundled / VGG, pictures, metrics=[find_metric("gini")], **common)
    with pytest.raises(OptionError, match="other metrics"):
        evaluate(bundled / VGG, pictures, metrics=[find_metric("entropy")], **common)
    with pytest.raises(OptionError, match="other seed"):
        evaluate(bundled / VGG, pictures, metrics=[find_metric("gini")], seed=1, **common)


def test_a_rule_that_no_journal_can_name_is_refused_where_a_folder_is_kept(bundled: Path, tmp_path: Path) -> None:
    rules = layered("own", convolution=linear.gamma(0.5), dense=linear.epsilon())
    own = [Variant("own", "lrp", {"composite": rules})]
    common = {"methods": own, "metrics": [find_metric("gini")], "controls": ()}
    pictures = [bundled / "pictures" / "star.png"]
    with pytest.raises(OptionError, match=r"own: composite is a Composite, .* give it a name"):
        evaluate(bundled / VGG, pictures, out=tmp_path / "kept", **common)
    assert len(evaluate(bundled / VGG, pictures, **common).items) == 1


def test_controls_are_the_same_whatever_the_model_and_differ_between_pictures(bundled: Path) -> None:
    found = [
        evaluate(bundled / f"{net}.dynamo.onnx", [bundled / "pictures"], methods=["gradcam"],
                 metrics=[find_metric("top_pixels")], regions=Masks(bundled / "pictures" / "masks"))
        for net in ("vgg_shapes", "resnet_shapes")
    ]  # fmt: skip
    for name in CONTROLS:
        a, b = (e.values(f"control: {name}", "top_pixels") for e in found)
        assert_allclose(a, b, rtol=0)
    values = found[0].values("control: random pixels", "top_pixels")
    assert len(np.unique(values[~np.isnan(values)])) > 1


def test_the_json_holds_what_the_csv_means(bundled: Path, tmp_path: Path) -> None:
    evaluate(bundled / VGG, [bundled / "pictures"], methods=["gradcam", "fgcam"], out=tmp_path, pictures=1,
             metrics=[find_metric("rank_drop"), find_metric("complexity")], controls=("all ones",))  # fmt: skip
    told = json.loads((tmp_path / "evaluation.json").read_text())
    rows = list(csv.DictReader((tmp_path / "evaluation.csv").read_text().splitlines()))
    for line in told["rows"]:
        for name in ("rank_drop", "complexity"):
            values = [float(r[name]) for r in rows if r["row"] == line["row"]]
            assert_allclose(line["values"][name]["mean"], np.mean(values), rtol=1e-5)
    first = {r["item"]: float(r["complexity"]) for r in rows if r["row"] == told["compared_with"]}
    ones = {r["item"]: float(r["complexity"]) for r in rows if r["row"] == "control: all ones"}
    difference = next(r for r in told["rows"] if r["control"])["difference"]["complexity"]
    assert_allclose(difference["mean"], np.mean([ones[i] - first[i] for i in first]), rtol=1e-5)


def test_pictures_are_prepared_as_the_file_beside_the_model_says(bundled: Path) -> None:
    """The picture that a control sees is the model's input."""
    found = evaluate(bundled / VGG, [bundled / "pictures" / "star.png"], methods=["gradcam"], controls=("edges",),
                     metrics=[find_metric("gini")])  # fmt: skip
    preprocess = preprocess_from(find_sidecar(bundled / VGG)).bound(("N", 3, 96, 96), np.float32)
    picture = Picture(preprocess(read_image(bundled / "pictures" / "star.png"))[0])
    expected = find_metric("gini").value(Case(picture, CONTROLS["edges"].draw(picture), lambda x, asked: x), {})
    assert_allclose(found.values("control: edges", "gini"), expected, rtol=1e-6)
