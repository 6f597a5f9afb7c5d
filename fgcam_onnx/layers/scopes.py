"""Modules as exporters name them: the path that a node was made in, and the calls of a module that is called again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from onnx import NodeProto

from ..graph.facts import producers_of
from ..graph.model import Model


class Made(Protocol):
    """A tensor that can be a layer: its name, the operator that makes it, and the path of its module."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def op(self) -> str:
        """The operator."""

    @property
    def scope(self) -> str:
        """The path, empty where none was left."""


L = TypeVar("L", bound=Made)


def by_scope(model: Model, layers: Mapping[str, L]) -> dict[str, L]:
    """Return each scope and all its parents, with the last layer made inside.

    A module that is called again stands for its last call, as with exporters that give every call one path; those
    that number the calls (``relu``, ``relu_1``) have a path for each of the others, too.
    """
    table: dict[str, L] = {}
    inside: dict[str, list[tuple[str, ...]]] = {}
    producers = producers_of(model)
    for layer in layers.values():
        parts = layer.scope.split(".") if layer.scope else []
        for i in range(1, len(parts) + 1):
            scope = ".".join(parts[:i])
            table[scope] = layer
            weights = [i for i in producers[layer.name].input if i in model.constants] if layer.op != "Input" else []
            inside.setdefault(scope, []).append((layer.op, *weights))
    return table | {scope: table[last] for scope in table if (last := _last_call(scope, inside)) != scope}


def _last_call(scope: str, inside: Mapping[str, list[tuple[str, ...]]]) -> str:
    """Return the scope of a module's last call: numbered from 1, of the same operators with the same weights."""
    number = 0
    while inside.get(f"{scope}_{number + 1}") == inside[scope]:
        number += 1
    return f"{scope}_{number}" if number else scope


def calls_of(model: Model, layers: Sequence[Made]) -> dict[str, tuple[int, int]]:
    """Return which call of its module makes a layer, and of how many, where one with weights is called again."""
    producers, made = producers_of(model), dict[tuple[str, ...], list[str]]()
    scope = {layer.name: layer.scope for layer in layers}
    places = {n: i for i, n in enumerate(producers)}
    for layer in sorted(layers, key=lambda x: places.get(x.name, -1)):
        weights = [i for i in producers[layer.name].input if i in model.constants] if layer.name in producers else []
        if weights and layer.scope:
            made.setdefault((layer.op, *weights), []).append(layer.name)
    return {
        name: (i, len(names))
        for names in made.values()
        if len(names) > 1 and len({_unnumbered(scope[n]) for n in names}) == 1
        for i, name in enumerate(names, 1)
    }


def _unnumbered(scope: str) -> str:
    return re.sub(r"_\d+$", "", scope)


def scope_of(node: NodeProto) -> str:
    """Return the module path an exporter left on ``node`` (``layer4.1.conv2``), or an empty string."""
    for prop in node.metadata_props:
        if prop.key == "pkg.torch.onnx.name_scopes":
            try:
                scopes = json.loads(prop.value.replace("'", '"'))
            except ValueError:
                return ""
            named = [s for s in scopes[:-1] if isinstance(s, str) and s]
            return named[-1] if named else ""
    parts = [p for p in node.name.split("/")[:-1] if p]
    path = ""
    for part in parts:
        path = part if not path or part.startswith(path + ".") else f"{path}.{part}"
    return path if re.fullmatch(r"[\w.\-]+", path) else ""
