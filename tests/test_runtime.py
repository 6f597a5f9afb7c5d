"""The door to onnxruntime: wheels, devices, threads, and arrays that outlive their owners."""

from __future__ import annotations

import gc
import importlib.metadata
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnxruntime
import pytest
from nets import images, small_cnn
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from fgcam_onnx import Explainer, load, runtime, wheels
from fgcam_onnx.errors import DeviceError, FgcamError, InputError
from fgcam_onnx.runtime import Session, resolve_device


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Forget what was found of wheels and devices, before and after."""
    for _ in range(2):
        wheels.onnxruntime_module.cache_clear()
        resolve_device.cache_clear()
        if not _:
            yield


def pretend(monkeypatch: pytest.MonkeyPatch, *installed: str) -> None:
    """Let just these onnxruntime distributions be installed."""
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name.startswith("onnxruntime"):
            if name not in installed:
                raise importlib.metadata.PackageNotFoundError(name)
            return "1.31.0"
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)


def test_both_wheels_at_once_are_refused_with_what_to_uninstall(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "onnxruntime", "onnxruntime-gpu")
    with pytest.raises(DeviceError, match=r"both installed.*uninstall onnxruntime onnxruntime-gpu.*fgcam-onnx\[cpu\]"):
        wheels.onnxruntime_module()


def test_no_wheel_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(DeviceError, match=r"not installed.*fgcam-onnx\[cpu\].*fgcam-onnx\[gpu\]"):
        Session(load(small_cnn()))


def without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])


def test_auto_is_quietly_the_cpu_where_only_the_cpu_wheel_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "onnxruntime")
    without_cuda(monkeypatch)
    assert resolve_device("auto") == "cpu"


def test_auto_says_once_why_the_gpu_wheel_runs_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "onnxruntime-gpu")
    without_cuda(monkeypatch)
    with pytest.warns(UserWarning, match=r"running on the CPU: CUDA"):
        assert resolve_device("auto") == "cpu"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resolve_device("auto") == "cpu"


def test_cuda_is_not_replaced_by_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "onnxruntime")
    without_cuda(monkeypatch)
    with pytest.raises(DeviceError, match="onnxruntime-gpu"):
        resolve_device("cuda")
    with pytest.raises(DeviceError, match="onnxruntime-gpu"):
        Explainer(small_cnn(), device="cuda")


def test_threads_reach_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    real = onnxruntime.InferenceSession

    def session(graph: bytes, options: Any, **others: Any) -> Any:
        seen.append(options.intra_op_num_threads)
        return real(graph, options, **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    x = images()
    one, two = (Explainer(small_cnn(), threads=t)(x) for t in (1, 2))
    assert seen == [1, 2]
    np.testing.assert_allclose(one.map, two.map, rtol=0, atol=1e-6 * np.abs(one.map).max())


def test_large_weights_outlive_the_model_they_came_from() -> None:
    """The session reads them in place, so it has to keep them."""
    x = images()
    model = load(small_cnn(width=48))
    session = Session(model)
    assert len(session.model.serialized()[1]) >= 2
    before = session.run({"input": x})["logits"]
    session.model = load(small_cnn())
    del model
    for _ in range(20):
        gc.collect()
        junk = [np.full(20736, np.nan, np.float32) for _ in range(50)]
        np.testing.assert_array_equal(session.run({"input": x})["logits"], before)
        del junk


def test_an_input_that_is_missing_is_named_and_one_too_many_is_passed_over() -> None:
    session = Session(load(small_cnn()))
    with pytest.raises(InputError, match="'input'"):
        session.run({})
    x = images()
    np.testing.assert_array_equal(session.run({"input": x, "more": x})["logits"], session.run({"input": x})["logits"])


def test_arrays_in_any_order_are_read_right() -> None:
    session, x = Session(load(small_cnn())), images()
    turned = np.asfortranarray(x)
    np.testing.assert_array_equal(session.run({"input": turned})["logits"], session.run({"input": x})["logits"])


def test_what_the_runtime_refuses_is_an_expected_error() -> None:
    session = Session(load(small_cnn()))
    with pytest.raises(FgcamError, match="ONNX Runtime failed"):
        session.run({"input": images(size=(7, 7))})
    assert runtime.DEVICES == ("auto", "cpu", "cuda")


def test_the_runtime_writes_nothing_on_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    session = Session(load(small_cnn()))
    with pytest.raises(FgcamError):
        session.run({"input": images(size=(7, 7))})
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


@pytest.mark.parametrize("activation", ["Relu", "Clip"])
def test_a_padded_tensor_can_be_read_by_others_too(activation: str) -> None:
    """ONNX Runtime folds the Pad into the convolution behind it, and loses what it read."""
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "v": rng.normal(size=(2, 4, 3, 3)).astype(np.float32),
        "bias": rng.normal(size=2).astype(np.float32),
        "pads": np.array([0, 0, 0, 0, 0, 0, 1, 1], np.int64),
        "low": np.float32(0),
        "high": np.float32(6),
    }
    bounds = ["low", "high"] if activation == "Clip" else []
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node(activation, ["a", *bounds], ["b"]),
        helper.make_node("Pad", ["b", "pads"], ["c"]),
        helper.make_node("Conv", ["c", "v", "bias"], ["d"], strides=[2, 2], kernel_shape=[3, 3], dilations=[1, 1]),
        helper.make_node("Identity", ["b"], ["read"]),
        helper.make_node("Identity", ["d"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "padded",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("read", "y")],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    x = rng.normal(size=(1, 3, 8, 8)).astype(np.float32)
    found = Session(load(proto), threads=1).run({"x": x})
    expected = ReferenceEvaluator(proto).run(None, {"x": x})
    for name, array in zip(("read", "y"), expected, strict=True):
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5)
