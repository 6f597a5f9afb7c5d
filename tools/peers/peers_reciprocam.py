"""Keep OpenVINO XAI's Recipro-CAM of the bundled nets, for a random picture and every class.

Runs in an environment of its own, since OpenVINO XAI wants an older numpy; ``tests/methods/test_masked.py`` holds ours
against what it writes::

    pip install openvino_xai==1.1.0 --no-deps
    pip install openvino==2024.4.0 "numpy<2" "scipy<1.14" "opencv-python-headless<4.11" tqdm matplotlib
    python tools/peers/peers_reciprocam.py tests/goldens/masked.reciprocam.npz
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import openvino as ov
from openvino_xai.inserter.model_parser import IRParserCls, ModelType
from openvino_xai.methods.white_box.recipro_cam import ReciproCAM

MODELS = Path(__file__).parents[2] / "exported_models"
compile_model = ov.Core.compile_model
ov.Core.compile_model = lambda self, model, device_name=None: compile_model(
    self, model, device_name, {"INFERENCE_PRECISION_HINT": "f32"}
)


def main() -> None:
    """Explain and save."""
    x = np.random.default_rng(3).standard_normal((1, 3, 96, 96)).astype(np.float32)
    kept = {}
    for net in ("resnet_shapes", "vgg_shapes"):
        model = ov.Core().read_model(MODELS / f"{net}.torchscript.onnx")
        layer = IRParserCls.get_target_node(model, ModelType.CNN, None).get_friendly_name()
        maps = ReciproCAM(model, embed_scaling=False).generate_saliency_map(x)
        kept[net], kept[f"{net}.layer"] = np.asarray(maps, np.float32)[0], np.array(layer)
        print(net, layer, kept[net].shape)
    np.savez_compressed(sys.argv[1], **kept)


if __name__ == "__main__":
    main()
