"""An option that changes nothing of a method is refused: which do is found by changing them, the check left out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from nets import model_of, node

from fgcam_onnx import Explainer
from fgcam_onnx.errors import FgcamError, OptionError
from fgcam_onnx.layers.layers import find_layer
from fgcam_onnx.lrp.composites import Composite
from fgcam_onnx.methods import METHODS, find_method
from fgcam_onnx.methods.taking import UNSAID, refuse_unused, shared_out, taken
from fgcam_onnx.program import TARGET

OTHER: dict[str, tuple[Any, ...]] = {
    "base": ("fem",),
    "denoise": (True,),
    "eigen_smooth": (True,),
    "products": ("split", "value"),
    "residual": ("ratio", "signed", "positive"),
    "saturation": (False,),
    "start": ("contrastive", "logit", "plain"),
    "trace": (True,),
}
ATTENTION = ("chefer", "legrad")
"""Methods for nets that the one here is not."""


def every_kind() -> Any:
    """Return a net with a residual sum, a gate and a quantizer that cuts off at 0, each before a deeper layer."""
    rng = np.random.default_rng(0)
    normal = lambda *shape: (0.5 * rng.normal(size=shape)).astype(np.float32)
    weights = {f"k{i}": normal(4, 3 if i == 1 else 4, 3, 3) for i in (1, 2, 3, 4, 5)}
    weights |= {"b1": normal(4), "b2": normal(4), "kg": normal(4, 4, 1, 1), "w": normal(4, 5), "c": normal(5)}
    weights |= {"s": np.float32(0.05), "z": np.uint8(0)}
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", ["input", "k1", "b1"], "a", **pads),
        node("Relu", ["a"], "b"),
        node("Conv", ["b", "k2", "b2"], "c2", **pads),
        node("Add", ["b", "c2"], "d"),
        node("Relu", ["d"], "e"),
        node("Conv", ["e", "kg"], "g0"),
        node("Sigmoid", ["g0"], "g"),
        node("Mul", ["e", "g"], "m"),
        node("Conv", ["m", "k3"], "n0", strides=[2, 2], **pads),
        node("QuantizeLinear", ["n0", "s", "z"], "q"),
        node("DequantizeLinear", ["q", "s", "z"], "n"),
        node("Conv", ["n", "k4"], "o0", strides=[2, 2], **pads),
        node("Relu", ["o0"], "o"),
        node("Conv", ["o", "k5"], "r0", **pads),
        node("Add", ["o", "r0"], "r1"),
        node("Relu", ["r1"], "r"),
        node("GlobalAveragePool", ["r"], "p"),
        node("Flatten", ["p"], "f"),
        node("Gemm", ["f", "w", "c"], "logits"),
    ]
    return model_of(nodes, weights, inputs={"input": ["N", 3, 16, 16]}, outputs=["logits"])


X = np.random.default_rng(1).normal(size=(1, 3, 16, 16)).astype(np.float32)
SMALL: dict[str, dict[str, Any]] = {
    "rise": {"masks": 20}, "occlusion": {"window": 8, "stride": 8}, "integratedgradients": {"steps": 4},
    "gradientshap": {"samples": 4},
    "kernelshap": {"samples": 20, "segments": 9}, "lime": {"samples": 20, "segments": 9},
}  # fmt: skip


def changed(method: str) -> set[str]:
    """Return the options that change something of what ``method`` finds, at the default layer or at an early one."""
    known = find_method(method).settings
    settings = {n: v for n, v in SMALL.get(method, {}).items() if n in known}
    found: set[str] = set()
    deep = {"base_layer": "m"} if "base_layer" in taken(method) else {}
    for layers in (None, ["b"]):
        try:
            explainer = Explainer(every_kind(), method=method, layers=layers, **deep, **settings)
            options, _ = explainer.options()
            feeds = explainer.feeds(X) | {TARGET: np.array([1])}
            usual = find_method(method).compile(options)(feeds)
        except FgcamError:
            continue
        early = find_layer(options.model, "n", logits=options.score.logits)
        for name, values in (OTHER | {"base_layer": (early,)}).items():
            for value in values if name not in found else ():
                try:
                    other = find_method(method).compile(replace(options, **{name: value}))(feeds)
                except FgcamError:
                    continue
                if any(n.startswith("trace") for n in other) or not np.allclose(
                    other["map/0"], usual["map/0"], rtol=1e-4, atol=1e-7
                ):
                    found.add(name)
                    break
    return found


@pytest.mark.parametrize("method", [m for m in METHODS if m not in ATTENTION])
def test_a_method_takes_the_options_that_change_something_of_it(method: str) -> None:
    row = find_method(method)
    found = changed(method)
    if method == "cam":
        found.add("saturation")  # behind its layer lie an average and a linear layer, here without a quantizer
    if not row.traces:
        found.discard("trace")  # gradients are walked back by the same engine, and not traced on purpose
    if "eigen_smooth" not in taken(method):
        found.discard("eigen_smooth")  # refused where components are a principal component's already
    assert found == set(taken(method))


@pytest.mark.parametrize("method", METHODS)
def test_what_a_method_does_not_take_is_refused_and_who_does_is_named(method: str) -> None:
    for name, values in (OTHER | {"base_layer": ("x",)}).items():
        if name in taken(method):
            refuse_unused(method, {name: values[0]})
        elif name != "base_layer" or find_method(method).at == "input":
            with pytest.raises(OptionError, match=rf"changes nothing of {method.replace('+', '.')}: leave it out.*for"):
                refuse_unused(method, {name: values[0]})


def test_nothing_said_is_never_refused() -> None:
    for method in METHODS:
        refuse_unused(method, UNSAID)


def test_the_explainer_refuses_before_the_model_is_read() -> None:
    for options in ({"base": "scorecam"}, {"denoise": True}, {"start": "logit"}, {"saturation": False}):
        with pytest.raises(OptionError, match="changes nothing of rise"):
            Explainer("there is no such file.onnx", method="rise", **options)
    with pytest.raises(OptionError, match="base-layer changes nothing of saliency"):
        Explainer("there is no such file.onnx", method="saliency", base_layer="x")


def test_a_base_layer_matters_where_it_says_where_the_maps_are() -> None:
    refuse_unused("gradcam", {"base_layer": "x"})
    refuse_unused("gradcam", {"base_layer": "x"}, layers=["all"])
    with pytest.raises(OptionError, match="base-layer changes nothing of gradcam"):
        refuse_unused("gradcam", {"base_layer": "x"}, layers=["y"])


def test_rules_that_a_composite_does_not_share_by_are_refused() -> None:
    for options in ({"composite": "cplrp", "products": "split"}, {"composite": "guidedbackprop", "residual": "ratio"}):
        with pytest.raises(OptionError, match="changes nothing of composite"):
            Explainer(every_kind(), method="lrp", **options)
    with pytest.raises(OptionError, match="made already"):
        Explainer(every_kind(), method="lrp", composite=Composite("mine", ()), residual="ratio")


def test_several_methods_each_get_what_they_take() -> None:
    given = {**UNSAID, "base": "scorecam", "start": "logit", "saturation": False}
    assert shared_out(["fgcam", "lrp", "gradcam", "rise"], given) == {
        "fgcam": {"base": "scorecam"},
        "lrp": {"start": "logit"},
        "gradcam": {"saturation": False},
        "rise": {},
    }
    with pytest.raises(OptionError, match="denoise changes nothing of gradcam, rise"):
        shared_out(["gradcam", "rise"], {"denoise": True})
