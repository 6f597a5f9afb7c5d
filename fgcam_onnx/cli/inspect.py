"""``fgcam inspect``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

SHOWN = 12


@click.command(name="inspect", context_settings={"show_default": True})
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--output", "output_name", metavar="NAME", help="The output to explain, where there are several.")
@click.option("--all", "every", is_flag=True, help=f"List every layer, not the {SHOWN} best.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(model: Path, output_name: str | None, every: bool, as_json: bool) -> None:
    """Show what is in MODEL: inputs, outputs, exporter, the layers to explain at, operators without rules.

    Layers are ranked as base layers: the deepest that still has spatial extent and that all of the score
    passes through comes first, and is the default.
    """
    report = _report(model, output_name)
    if as_json:
        click.echo(json.dumps(report, indent=1))
        return
    from .tables import rows_table

    click.echo(f"{model}: {report['producer']}, opset {report['opset']}, {report['nodes']} nodes")
    ends = [(kind[:-1], t["name"], t["dtype"], _shape(t["shape"])) for kind in ("inputs", "outputs") for t in report[kind]]
    rows_table("Inputs and outputs", ("", "name", "dtype", "shape"), ends)
    score = report["score"]
    skipped = f" (before the final {score['skipped']})" if score["skipped"] else ""
    click.echo(f"\nscore: {score['logits']}{skipped}, {score['classes'] or 'an open number of'} targets")
    layers = report["layers"] if every else report["layers"][:SHOWN]
    rows_table(
        f"Layers, best base first ({len(layers)} of {len(report['layers'])})",
        ("rank", "name", "scope", "op", "why"),
        [(x["rank"], x["name"], x["scope"], x["op"], x["why"]) for x in layers],
    )
    for walk, found in report["support"].items():
        if found["missing"]:
            missing = ", ".join(f"{op} ({n})" for op, n in found["missing"].items())
            click.echo(f"\n{walk}: no rule for {missing}; {found['blocked']} layers cannot be reached")
        else:
            click.echo(f"\n{walk}: every operator has a rule; all layers can be reached")


def _shape(dims: list[Any]) -> str:
    return " x ".join(str(d) for d in dims)


def _report(path: Path, output: str | None) -> dict[str, Any]:
    from ..errors import TargetError
    from ..graph.layers import ranked_layers
    from ..graph.loading import load
    from ..graph.score import find_score
    from ..program import class_count
    from ..support import support_of

    model = load(path)
    score = find_score(model, output)
    try:
        classes: int | None = class_count(model, score.logits)
    except TargetError:
        classes = None
    layers = ranked_layers(model, logits=score.logits)
    support = support_of(model, logits=score.logits, input=model.inputs[0].name)
    return {
        "model": str(path),
        "producer": model.producer,
        "opset": model.opset_read,
        "nodes": len(model.nodes),
        "inputs": [_tensor(t) for t in model.inputs],
        "outputs": [_tensor(t) for t in model.outputs],
        "score": {"output": score.output, "logits": score.logits, "skipped": score.skipped, "classes": classes},
        "layers": [
            {
                "rank": i,
                "name": x.name,
                "node": x.node,
                "scope": x.scope,
                "op": x.op,
                "shape": [d if isinstance(d, int) else None for d in x.shape],
                "channel_axis": x.channel_axis,
                "every_path": x.every_path,
                "why": x.why,
            }
            for i, x in enumerate(layers, 1)
        ],
        "support": {
            walk: {"missing": s.missing, "blocked": sum(x.name in s.blocked for x in layers)}
            for walk, s in support.items()
        },
    }


def _tensor(spec: Any) -> dict[str, Any]:
    return {"name": spec.name, "dtype": str(spec.dtype), "shape": [d if isinstance(d, int) else str(d) for d in spec.shape]}
