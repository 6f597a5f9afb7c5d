"""What ``pyproject.toml`` cannot say: the packages that are found, and the bundled models and pictures beside them."""

from setuptools import find_packages, setup

MODELS = "fgcam_onnx.exported_models"
PICTURES = f"{MODELS}.pictures"

setup(
    packages=[*find_packages(include=["fgcam_onnx*"]), MODELS, PICTURES],
    package_dir={MODELS: "exported_models"},
    package_data={
        "fgcam_onnx": ["py.typed", "notebook/viewer.*", "page/static/*", "report/templates/*.html"],
        MODELS: ["README.md", "resnet_shapes.torchscript.*", "shapes.labels.txt", "vgg_shapes.dynamo.*"],
        PICTURES: ["*.png"],
    },
    include_package_data=False,
)
