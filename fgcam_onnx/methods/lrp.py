"""Layer-wise relevance propagation by any composite, and the methods that are one composite."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import OptionError
from ..graph.emitter import Emitter
from ..graph.forms import in_forms
from ..graph.tape import tape_between
from ..lrp.canonize import canonized
from ..lrp.composites import Composite
from ..lrp.rules import Rule
from ..lrp.starts import START
from ..lrp.table import SHARED, find_composite, made, settings_of
from ..lrp.trace import Step, trace_outputs
from ..program import Scored, append_map, append_relevance, append_total, require_reach
from ..quantized import meant
from .method import CELLS, Method, Options, Outputs

DEFAULT = "epsilonplus"


def append_lrp(options: Options, emitter: Emitter, scored: Scored) -> Outputs:
    """Append the relevance at every layer, summed over the channels, and what sums it has."""
    require_reach(options.layers)
    composite = _composite(options)
    begin = START[options.start or _start(options, emitter, composite)](scored)
    steps: list[Step] = []
    relevance = append_relevance(
        emitter,
        [layer.name for layer in options.layers],
        output=options.score.logits,
        seed=scored.spread(begin),
        pullback=composite,
        canonize=True,
        derivative=composite.derivative,
        cells=options.settings["cells"],
        steps=steps if options.trace else None,
    )
    found = trace_outputs(steps)
    if not composite.derivative:
        found |= {"total": append_total(begin), "magnitude": append_total(abs(begin))}
    for i, layer in enumerate(options.layers):
        found[f"map/{i}"] = append_map(emitter, layer, layer.folded(relevance[layer.name]))
        if not composite.derivative:
            found[f"sum/{i}"] = append_total(relevance[layer.name])
    return found


def _start(options: Options, emitter: Emitter, composite: Composite) -> str:
    """Return ``signed`` where the rule nearest the score turns with the logit's sign, else ``plain``."""
    logits = options.score.logits
    behind = [layer.name for layer in options.layers if layer.name != logits]
    tape = canonized(in_forms(tape_between(emitter, sources=behind, output=logits))) if behind else ()
    rules = (composite.rule_of(meant(record)) for record in reversed([*tape]))
    nearest = next((rule for rule in rules if isinstance(rule, Rule)), None)
    return "signed" if nearest is not None and nearest.turns else "plain"


def _composite(options: Options) -> Composite:
    settings = dict(options.settings)
    chosen, _ = settings.pop("composite"), settings.pop("cells")
    if isinstance(chosen, Composite):
        if options.residual or options.products:
            raise OptionError(
                "residual and products change nothing of a Composite, which is made already: leave them out"
            )
        return chosen
    return made(chosen, settings, residual=options.residual or None, products=options.products or None)


def composite_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of lrp: its composite, a name or a Composite, and what that one takes.

    Raises
    ------
    OptionError
        No such composite, or a setting given beside a composite that is made already.
    """
    composite = given.get("composite", DEFAULT)
    if isinstance(composite, Composite):
        return {"composite": composite, **CELLS}
    if not isinstance(composite, str):
        raise OptionError(f"composite is a name or a Composite, not {composite!r}")
    return {"composite": composite} | settings_of(composite) | CELLS


def _shared_by(composite: str) -> tuple[str, ...]:
    return tuple(n for n in SHARED if n in inspect.signature(find_composite(composite)).parameters)


def row(composite: str, summary: str, source: str, *, start: str = "", traces: bool = True) -> Method:
    """Return the method that is lrp with one composite."""

    def variants(given: Mapping[str, Any]) -> dict[str, Any]:
        return settings_of(composite) | CELLS

    def append(options: Options, emitter: Emitter, scored: Scored) -> Outputs:
        settings = {"composite": composite, **options.settings}
        return append_lrp(replace(options, settings=settings), emitter, scored)

    return Method(
        summary, source, append, settings=settings_of(composite) | CELLS, variants=variants, start=start, residual="",
        products="", traces=traces, takes=frozenset({"start", *_shared_by(composite)}),
    )  # fmt: skip


LRP = {
    "lrp": Method(
        "relevance handed from the score to the input by a composite of rules",
        "Bach et al., 2015, doi:10.1371/journal.pone.0130140; Montavon et al., 2019, doi:10.1007/978-3-030-28954-6_10",
        append_lrp,
        settings=composite_settings({}),
        variants=composite_settings,
        start="",
        residual="",
        products="",
        traces=True,
        takes=frozenset({"start", *SHARED}),
    ),
    "attnlrp": row(
        "attnlrp",
        "lrp for transformers: through attention weights and values",
        "Achtibat et al., 2024, arXiv:2402.05602",
    ),
    "cplrp": row(
        "cplrp",
        "lrp for transformers with attention weights held constant",
        "Ali et al., 2022, arXiv:2202.07304",
    ),
    "deconvnet": row(
        "deconvnet",
        "the gradient, of which every ReLU passes what is positive, wherever it was active",
        "Zeiler & Fergus, 2014, arXiv:1311.2901",
        traces=False,
    ),
    "deeptaylor": row(
        "deeptaylor",
        "the score decomposed by Taylor expansions, positive parts only",
        "Montavon et al., 2017, doi:10.1016/j.patcog.2016.11.008",
        start="logit",
    ),
    "excitationbackprop": row(
        "excitationbackprop",
        "winning units by their positive contributions, as probabilities",
        "Zhang et al., 2016, arXiv:1608.00507",
    ),
    "guidedbackprop": row(
        "guidedbackprop",
        "the gradient, of which every ReLU passes what is positive",
        "Springenberg et al., 2015, arXiv:1412.6806",
        traces=False,
    ),
}
