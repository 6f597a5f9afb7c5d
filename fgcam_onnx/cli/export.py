"""``fgcam export``."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..defaults import METHOD
from ..preparing import labels_file_of, prepare
from .grouping import Command
from .meaning import MEANING, noted, stated
from .options import ENDS, INT8, PIXELS, RULES
from .saying import say
from .values import Size, settings_by_method

if TYPE_CHECKING:
    from ..exporter import Choice, Exported
    from ..graph.model import Model, TensorSpec
    from ..imaging import Preprocess

PASSED_ON = "method base base_layer denoise residual products start saturation int8".split()
"""Options that the explainer knows by the same name."""

WRITTEN = "resize normalize size fp16".split()
"""Options that the exporter knows by the same name."""

OVERRIDES = "layout channels scale mean std".split()


@click.command(name="export", cls=Command, context_settings={"show_default": True})
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="The ONNX file to write.")
@click.option("--method", default=METHOD, help="Any method that is one graph; fgcam refines a CAM to the input's size.")
@click.option("--base", metavar="NAME", help="The CAM that is refined.  [default: gradcam; auto: as suits the net]")
@click.option(
    "--set", "pairs", multiple=True, metavar="NAME=VALUE",
    help="A setting of the method's own, such as steps=32 of integratedgradients; `fgcam methods` lists them.",
)  # fmt: skip
@click.option("--denoise", is_flag=True, help="Keep the leading singular directions of the base's components.")
@click.option(
    "--layer", "layers", multiple=True, metavar="NAME|input|all",
    help="Where maps are wanted: tensor, node, exporter scope (layer4) or a unique prefix; repeatable. "
    " [default: the input for methods that reach it, the base layer for the others]",
)  # fmt: skip
@click.option("--base-layer", metavar="NAME", help="Where the base is computed.  [default: the deepest]")
@click.option(
    "--target", default="argmax", metavar="argmax|input|ID|LABEL",
    help="The class to explain: each image's top class, an int64 input of the file, or one class for good.",
)  # fmt: skip
@MEANING
@RULES
@click.option(
    "--preprocess", "spec", metavar="PRESET|FILE|sidecar",
    help="Put into the file, which then takes uint8 RGB pixels: imagenet, tf, caffe, unit, none, a JSON/TOML file, "
    "or sidecar, the one beside the model.  [default: the file takes what the model takes]",
)  # fmt: skip
@PIXELS
@click.option("--size", type=Size(), help="Model input size, where the model leaves it open.")
@click.option(
    "--resize", type=click.Choice(["none", "input"]), default="none",
    help="Leave maps at their layer's size, or widen them bilinearly to the input's.",
)  # fmt: skip
@click.option(
    "--normalize", type=click.Choice(["none", "minmax", "uint8"]), default="none",
    help="Raw and signed; or the positive part from 0 to 1; or that in whole steps from 0 to 255.",
)  # fmt: skip
@click.option("--batch", default="dynamic", metavar="dynamic|N", help="Leave the batch free, or fix it.")
@click.option("--fp16", is_flag=True, help="Store weights and compute in half precision, inputs and outputs aside.")
@INT8
@click.option("--labels", "labels_file", type=click.Path(path_type=Path), help="Class names, for --target LABEL.")
@ENDS
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def command(model: Path, out: Path, **options: Any) -> None:
    """Write MODEL and its explanation as one ONNX file, for any ONNX runtime.

    The file returns what MODEL returns and besides `explanation`, the map, `explanation_target`, the class that
    was explained, and `explanation_score`, its logit. It holds standard operators only and needs nothing of ours.

    \b
    fgcam export model.onnx -o explained.onnx
    fgcam export model.onnx -o explained.onnx --preprocess imagenet --resize input --normalize uint8
    fgcam export model.onnx -o explained.onnx --method gradcam --layer layer4 --target input
    """  # noqa: D301
    from ..arguments import image_input
    from ..exporter import export
    from ..heads import meaning_of
    from ..loading.loading import load

    loaded = load(model)
    meant = stated(options, labels_file_of(model, options["labels_file"]))
    image = image_input(loaded.inputs, options["input_name"])
    head = meaning_of(loaded, options["output_name"], source=image.name, stated=meant)[1]
    noted(head)
    target, batch = _target(options["target"], head.labels or meant.labels), _batch(options["batch"])
    found = export(
        loaded,
        out,
        target=target,
        preprocess=_preprocess(loaded, image, options),
        batch=batch,
        layers=options["layers"] or None,
        input=options["input_name"],
        output=options["output_name"],
        head=meant,
        **{n: options[n] for n in (*PASSED_ON, *WRITTEN)},
        **settings_by_method(options["pairs"], methods=[options["method"]], base=options["base"])[options["method"]],
    )
    if options["as_json"]:
        say(json.dumps(_summary(found), indent=1))
        return
    from .tables import exported_file

    exported_file(_summary(found))


def _target(text: str, labels: Sequence[str]) -> Choice:
    from ..errors import TargetError
    from ..targets.said import target_of

    if text == "argmax":
        return "argmax"
    if text == "input":
        return "input"
    chosen = target_of(text, labels=labels)
    if not isinstance(chosen, int):
        raise TargetError(f"--target {text}: a file explains argmax, input, or one class by index or label")
    return chosen


def _batch(text: str) -> int | None:
    from ..errors import OptionError

    if text == "dynamic":
        return None
    if not re.fullmatch(r"0*[1-9][0-9]{0,6}", text):
        raise OptionError(f"--batch {text}: write dynamic, or a number from 1")
    return int(text)


def _preprocess(model: Model, spec: TensorSpec, options: dict[str, Any]) -> Preprocess | None:
    from ..errors import OptionError
    from ..imaging import find_sidecar

    overrides = {n: options[n] for n in OVERRIDES}
    named = options["spec"]
    if named is None:
        given = [f"--{n}" for n, v in overrides.items() if v is not None]
        if given:
            raise OptionError(f"{', '.join(given)} change the preprocessing, which --preprocess puts into the file")
        return None
    if named == "sidecar" and (model.path is None or find_sidecar(model.path) is None):
        raise OptionError(f"there is no preprocessing file beside {model.path}; name a preset or a file")
    spec_named = None if named == "sidecar" else named
    return prepare(model, spec_named, image=spec, size=options["size"], **overrides).preprocess


def _summary(found: Exported) -> dict[str, Any]:
    meanings = json.loads(found.metadata["inputs"]) | json.loads(found.metadata["outputs"])

    def tensors(specs: Sequence[TensorSpec]) -> list[dict[str, Any]]:
        return [
            {"name": s.name, "dtype": str(s.dtype), "shape": list(s.shape), "meaning": meanings.get(s.name, "")}
            for s in specs
        ]

    return {
        "file": str(found.path),
        "weights": str(found.beside) if found.beside else None,
        "bytes": found.size,
        "inputs": tensors(found.inputs),
        "outputs": tensors(found.outputs),
        "metadata": found.metadata,
    }
