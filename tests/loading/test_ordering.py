"""Files that a runtime takes although they are not tidy: nodes out of order, an operator set imported twice."""

from __future__ import annotations

import numpy as np
import pytest
from nets import images, small_cnn
from numpy.testing import assert_array_equal
from onnx import ModelProto, helper
from parsed import plain

from fgcam_onnx import Explainer
from fgcam_onnx.errors import ModelError
from fgcam_onnx.loading.loading import load
from fgcam_onnx.loading.ordering import in_order


def importing(*opsets: tuple[str, int]) -> ModelProto:
    model = small_cnn(opset=11)
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(d, v) for d, v in opsets)
    return model


@pytest.mark.parametrize("second", ["", "ai.onnx"])
@pytest.mark.parametrize("method", ["gradcam", "fgcam", "eigencam", "saliency"])
def test_an_operator_set_imported_twice_is_imported_once(method: str, second: str) -> None:
    twice, x = importing(("", 11), (second, 11)), images()
    assert load(twice).opsets == load(small_cnn(opset=11)).opsets
    found, expected = (Explainer(m, method=method)(x, target=1).map for m in (twice, small_cnn(opset=11)))
    assert_array_equal(found, expected)


def test_an_operator_set_in_two_versions_is_refused() -> None:
    with pytest.raises(ModelError, match=r"ai\.onnx in two versions, 11 and 13"):
        load(importing(("", 11), ("ai.onnx", 13)))


@pytest.mark.parametrize("seed", range(3))
def test_nodes_out_of_order_are_put_in_order(seed: int) -> None:
    model, x = small_cnn(), images()
    mixed = ModelProto()
    mixed.CopyFrom(model)
    order = np.random.default_rng(seed).permutation(len(model.graph.node))
    del mixed.graph.node[:]
    mixed.graph.node.extend(model.graph.node[i] for i in order)
    assert_array_equal(plain(mixed, {"input": x}), plain(model, {"input": x}))
    assert [n.output[0] for n in load(mixed).nodes] == [n.output[0] for n in load(model).nodes]
    assert_array_equal(*(Explainer(m, method="gradcam")(x, target=1).map for m in (mixed, model)))


def test_nodes_that_are_in_order_stay() -> None:
    nodes = list(small_cnn().graph.node)
    assert in_order(nodes) == nodes
