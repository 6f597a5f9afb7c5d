"""Run the exported files in OpenVINO: ``python openvino_engine.py CASES_FOLDER OUT_FOLDER``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import openvino as ov


def run_case(core: ov.Core, case: dict, folder: Path, out: Path) -> None:
    """Run one file on all its feeds, and write every output."""
    compiled = core.compile_model(core.read_model(folder / case["model"]), "CPU")
    for run in case["runs"]:
        feeds = {f["name"]: np.fromfile(folder / f["file"], f["type"]).reshape(f["dims"]) for f in run["feeds"]}
        found = compiled(feeds)
        for i, name in enumerate(case["outputs"]):
            np.asarray(found[name]).tofile(out / f"{run['id']}.{i}.bin")


def main(folder: Path, out: Path) -> None:
    core = ov.Core()
    core.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})
    failures = {}
    for case in json.loads((folder / "cases.json").read_text()):
        try:
            run_case(core, case, folder, out)
        except Exception as error:  # a runtime's refusal, whatever its class, is what is looked for
            failures[case["id"]] = str(error).strip()
    version = ov.get_version().split("-")[0]
    (out / "result.json").write_text(json.dumps({"version": version, "failures": failures}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
