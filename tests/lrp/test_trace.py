"""Traces: what every operator makes of the relevance that reaches it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nets import images, small_cnn

import fgcam_onnx
from fgcam_onnx.errors import OptionError

ORDER = ["Gemm", "Flatten", "GlobalAveragePool", "Relu", "Conv", "MaxPool", "Relu", "Conv"]


def traced(method: str, **options: Any) -> fgcam_onnx.Explanation:
    return fgcam_onnx.explain(small_cnn(), images(), method=method, trace=True, **options)


@pytest.mark.parametrize("method", ["lrp", "fgcam", "relevancecam", "deeptaylor", "excitationbackprop"])
def test_on_a_chain_each_operator_gets_what_the_one_before_left(method: str) -> None:
    e = traced(method, layers="input")
    ops = [step.op for step in e.trace]
    assert ops == ORDER[-len(ops) :]
    assert all(step.arriving.shape == step.leaving.shape == (2,) for step in e.trace)
    for before, after in zip(e.trace, e.trace[1:], strict=False):
        np.testing.assert_allclose(after.arriving, before.leaving, rtol=1e-5, atol=1e-6)


def test_a_trace_ends_with_what_is_conserved() -> None:
    for method in ("lrp", "fgcam"):
        e = traced(method)
        np.testing.assert_allclose(
            e.trace[-1].leaving / e.trace[0].arriving, e.conservation["input"], rtol=1e-5, atol=1e-6
        )
        np.testing.assert_allclose(e.trace[-1].leaving, e.map.sum((1, 2)), rtol=1e-4, atol=1e-6)


def test_lrp_starts_from_one_and_weighted_operators_absorb() -> None:
    e = traced("lrp")
    np.testing.assert_allclose(e.trace[0].arriving, 1, rtol=0, atol=0)
    for step in e.trace:
        lost = np.abs(step.leaving - step.arriving)
        if step.op in ("Conv", "Gemm"):
            assert lost.max() > 1e-3
        else:
            assert lost.max() < 1e-4


def test_the_map_is_the_same_with_and_without_a_trace() -> None:
    plain = fgcam_onnx.explain(small_cnn(), images(), method="lrp")
    assert plain.trace == ()
    np.testing.assert_array_equal(plain.map, traced("lrp").map)


def test_branches_share_and_their_sums_are_traced(bundled: Path) -> None:
    """At a residual sum as much leaves as arrives; each branch gets a part."""
    x = np.random.default_rng(0).standard_normal((1, 3, 96, 96)).astype(np.float32)
    e = fgcam_onnx.explain(bundled / "resnet_shapes.torchscript.onnx", x, method="lrp", trace=True)
    sums = [step for step in e.trace if step.op == "Add"]
    assert len(sums) == 5
    for step in sums:
        np.testing.assert_allclose(step.leaving, step.arriving, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", ["gradcam", "guidedbackprop", "chefer"])
def test_what_hands_no_relevance_back_has_no_trace(method: str) -> None:
    with pytest.raises(OptionError, match="hands no relevance back"):
        traced(method)


def test_a_trace_is_of_one_run() -> None:
    with pytest.raises(OptionError, match="choose one"):
        traced("lrp", aug_smooth=True)


def test_the_command_shows_who_absorbs(fgcam: Any, bundled: Path) -> None:
    model, picture = bundled / "vgg_shapes.torchscript.onnx", bundled / "pictures" / "star.png"
    ran = fgcam("explain", model, picture, "--method", "lrp", "--trace", "--composite", "epsilonalpha2beta1")
    assert ran.code == 0, ran.err
    assert "relevance 1 handed back" in ran.out
    assert "of the start" in ran.out
    assert ran.out.count("Conv ") >= 7
    assert "operators hand on all that they get" in ran.out
    written = json.loads(Path("explanations/explanations.json").read_text())
    trace = written["images"][0]["explanations"][0]["trace"]
    assert trace[0]["op"] == "Gemm"
    assert trace[0]["arriving"] == 1
    assert written["settings"]["composite"] == "epsilonalpha2beta1"


def test_relevance_that_sums_to_nothing_has_no_shares(fgcam: Any, bundled: Path) -> None:
    model, picture = bundled / "vgg_shapes.torchscript.onnx", bundled / "pictures" / "star.png"
    ran = fgcam("explain", model, picture, "--method", "relevancecam", "--start", "sglrp", "--trace")
    assert ran.code == 0, ran.err
    rows = [line.split() for line in ran.out.splitlines() if line.startswith(("Gemm", "Conv"))]
    assert rows
    assert all(row[-1] == "-" for row in rows)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--start", "one"), "unknown start 'one'"),
        (("--method", "lrp", "--composite", "epsilon_plus"), "unknown composite"),
        (("--method", "lrp", "--set", "gamma=1"), "no setting 'gamma'"),
        (("--method", "lrp", "--composite", "epsilongammabox", "--set", "low=a,b"), "one number or several"),
        (("--method", "gradcam", "--trace"), "hands no relevance back"),
        (("--composite", "epsilon"), "no setting 'composite'"),
    ],
)
def test_the_command_refuses_what_does_not_fit(fgcam: Any, bundled: Path, given: tuple[str, ...], message: str) -> None:
    model, picture = bundled / "vgg_shapes.torchscript.onnx", bundled / "pictures" / "star.png"
    ran = fgcam("explain", model, picture, *given)
    assert ran.code == 1
    assert message in ran.err


def test_the_command_takes_a_box_for_each_channel(fgcam: Any, bundled: Path) -> None:
    model, picture = bundled / "vgg_shapes.torchscript.onnx", bundled / "pictures" / "star.png"
    box = ("--set", "low=-3,-3,-3", "--set", "high=3.3,3.3,3.3", "--set", "gamma=0.5")
    ran = fgcam("explain", model, picture, "--method", "lrp", "--composite", "epsilongammabox", *box)
    assert ran.code == 0, ran.err
    settings = json.loads(Path("explanations/explanations.json").read_text())["settings"]
    assert (settings["low"], settings["gamma"]) == ([-3, -3, -3], 0.5)
