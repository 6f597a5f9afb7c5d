"""Processor time of long chains of operators beside ONNX Runtime's own for the same file.

    python tools/bench/chains.py --identities 100000 --relus 4000

Each step in a process of its own, one thread, the least of 3, imports left out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

STEPS = ("ONNX Runtime opens it", "load", "load, and gradcam built")


def chained(op: str, count: int, path: Path) -> None:
    """Write the small net of the tests with ``count`` operators more between its first two layers."""
    import nets

    first, *rest = nets.small_nodes()[1:]
    chain = [nets.node(op, [f"i{i - 1}" if i else first.output[0]], f"i{i}") for i in range(count)]
    rest[0].input[0] = f"i{count - 1}"
    nodes = [nets.small_nodes()[0], first, *chain, *rest]
    model = nets.model_of(nodes, nets.small_weights(), inputs={"input": ["N", 3, 12, 10]}, outputs=["logits"])
    path.write_bytes(model.SerializeToString())


def measure(step: str, path: str) -> float:
    """Return the processor time of one step, in seconds."""
    import onnxruntime

    import fgcam_onnx

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    explainer = fgcam_onnx.Explainer  # what is imported lazily is imported here
    begin = time.process_time()
    if step == STEPS[0]:
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    else:
        model = fgcam_onnx.load(path)
        if step == STEPS[2]:
            explainer(model, method="gradcam", threads=1)
    return time.process_time() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, default=100_000)
    parser.add_argument("--relus", type=int, default=4_000)
    parser.add_argument("--measure", nargs=2, metavar=("STEP", "FILE"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(measure(*asked.measure))
        return
    print(f"| chain | {' | '.join(STEPS)} |\n| --- |{' ---: |' * len(STEPS)}")
    with tempfile.TemporaryDirectory() as folder:
        for op, count in (("Identity", asked.identities), ("Relu", asked.relus)):
            chained(op, count, path := Path(folder) / "chain.onnx")
            cells = []
            for step in STEPS:
                again = [sys.executable, __file__, "--measure", step, str(path)]
                found = [float(subprocess.run(again, check=True, capture_output=True, text=True).stdout) for _ in "123"]
                cells.append(f"{min(found):.2f} s")
            print(f"| {count} {op} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
