"""What auto costs beside fgcam as published: the ratio of their times, alternating, on one picture.

    python tools/truth/cost.py ASSETS [--rounds 15]

A median over rounds, with 10 % and 90 %; both from the same base layer, so that only the rules differ.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import time

import numpy as np
from truth import NETS

import fgcam_onnx


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("assets", type=pathlib.Path)
    p.add_argument("--rounds", type=int, default=15)
    p.add_argument("--nets", nargs="*", default=list(NETS))
    a = p.parse_args()
    for name in a.nets:
        model = fgcam_onnx.load(a.assets / "models" / NETS[name])
        shape = [d if isinstance(d, int) else 1 for d in model.inputs[0].shape]
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        auto = fgcam_onnx.Explainer(model, method="auto", threads=1)
        chosen = auto.options()[0]
        published = fgcam_onnx.Explainer(
            model, method="fgcam", base=chosen.base, base_layer=chosen.base_layer.name, threads=1
        )
        ratios = []
        for _ in range(a.rounds + 2):
            times = []
            for explainer in (auto, published):
                start = time.process_time()
                explainer(x)
                times.append(time.process_time() - start)
            ratios.append(times[0] / times[1])
        low, middle, high = np.percentile(ratios[2:], [10, 50, 90])
        print(json.dumps({"net": name, "ratio": round(middle, 3), "10 %": round(low, 3), "90 %": round(high, 3)}))


if __name__ == "__main__":
    main()
