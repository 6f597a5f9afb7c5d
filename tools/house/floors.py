"""Show how the house is built: its rooms, the floors of the import graph, circles, and the length of files.

``python tools/house/floors.py`` prints all that; ``--floors`` lists the files of each floor, and ``--write`` puts the
rooms of each floor into ``docs/architecture.md``. A file stands one floor above the highest file that it imports.
Imports inside functions count; those for type checkers alone make no floor, and circles that only they close are
listed apart.
"""

from __future__ import annotations

import argparse
import ast
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "fgcam_onnx"
PAGE = ROOT / "docs" / "architecture.md"
OPENS, CLOSES = "<!-- floors -->\n", "<!-- end of floors -->\n"
PARTS = ("fgcam_onnx", "tests", "tools")

Graph = Mapping[str, frozenset[str]]
"""The modules that each module imports, all named below the package: ``graph.model``, ``explainer``."""


def modules(package: Path = PACKAGE) -> dict[str, Path]:
    """Return the file of every module, by its name below the package; a room's ``__init__`` has the room's name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "__init__"] = path
    return found


def imports(source: str, *, typing: bool = False) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Return (leading dots, module, names) of every import; with ``typing`` those for type checkers alone, too."""
    nodes: list[ast.AST] = [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        guarded = isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        if isinstance(node, ast.If) and guarded and not typing:
            nodes += node.orelse
        elif isinstance(node, ast.Import):
            yield from ((0, alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or "", tuple(alias.name for alias in node.names)
        else:
            nodes += ast.iter_child_nodes(node)


def import_graph(package: Path = PACKAGE, *, typing: bool = False) -> Graph:
    """Return which modules of the package each of them imports."""
    files = modules(package)
    graph = {}
    for module, path in files.items():
        inside = path.relative_to(package).parent.parts
        read: set[str] = set()
        for dots, name, names in imports(path.read_text(), typing=typing):
            if dots:
                start = [*inside[: len(inside) - dots + 1], *filter(None, name.split("."))]
            elif name.split(".")[0] == package.name:
                start = name.split(".")[1:]
            else:
                continue
            for last in names or ("",):
                whole = ".".join([*start, last])
                read.add(whole if whole in files else ".".join(start) or "__init__")
        graph[module] = frozenset(read & files.keys() - {module})
    return graph


def circles(graph: Graph) -> list[tuple[str, ...]]:
    """Return the sets of modules that import each other, directly or through others."""
    above = {module: reachable(graph, module) for module in graph}
    found = {tuple(sorted(m for m in above[module] if module in above[m])) for module in graph}
    return sorted(c for c in found if c)


def reachable(graph: Graph, module: str) -> frozenset[str]:
    """Return what ``module`` imports, directly or through others; itself only in a circle."""
    found: set[str] = set()
    waiting = list(graph[module])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += graph[name]
    return frozenset(found)


def floors(graph: Graph) -> list[list[str]]:
    """Return the modules of each floor, the lowest first; those of a circle share none and are left out."""
    laid: list[list[str]] = []
    left = dict(graph)
    while floor := sorted(m for m, read in left.items() if left.keys().isdisjoint(read)):
        laid.append(floor)
        left = {m: read for m, read in left.items() if m not in floor}
    return laid


def by_room(graph: Graph) -> Graph:
    """Return which rooms and single files of the ground floor import which."""
    rooms: dict[str, set[str]] = {module.split(".")[0]: set() for module in graph}
    for module, read in graph.items():
        room = module.split(".")[0]
        rooms[room] |= {other.split(".")[0] for other in read} - {room}
    return {room: frozenset(read) for room, read in rooms.items()}


def table(graph: Graph) -> str:
    """Return the rooms of each floor as the table of ``docs/architecture.md``, the highest first."""
    laid = list(enumerate(floors(by_room(graph))))
    rows = (f"| {number} | {', '.join(names)} |" for number, names in reversed(laid))
    return "\n".join(("| floor | rooms and files |", "| ---: | --- |", *rows)) + "\n"


def written(page: str, graph: Graph) -> str:
    """Return ``page`` with the table in its place, between two comments."""
    before, rest = page.split(OPENS)
    return f"{before}{OPENS}\n{table(graph)}\n{CLOSES}{rest.split(CLOSES)[1]}"


def lengths(part: str) -> dict[Path, int]:
    """Return the number of lines of every Python file below ``part`` of the repository."""
    files = [p for p in sorted((ROOT / part).rglob("*.py")) if "node_modules" not in p.parts]
    return {p.relative_to(ROOT): len(p.read_text().splitlines()) for p in files}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--floors", action="store_true", help="list the files of each floor, the highest first")
    parser.add_argument("--write", action="store_true", help="put the rooms of each floor into docs/architecture.md")
    asked = parser.parse_args()
    graph = import_graph()
    if asked.write:
        PAGE.write_text(written(PAGE.read_text(), graph))
    laid = floors(graph)
    if asked.floors:
        for number, names in reversed(list(enumerate(laid))):
            print(f"{number:2}  {' '.join(names)}")
        print()
    print(f"{len(graph)} modules on {len(laid)} floors, {sum(map(len, graph.values()))} imports")
    for kind, found in (("circles", circles(graph)), ("closed by types alone", circles(import_graph(typing=True)))):
        print(f"{kind}: {'; '.join(' '.join(c) for c in found) or 'none'}")
    print("\n| | files | lines | median | longest |\n| --- | ---: | ---: | ---: | --- |")
    for part in PARTS:
        of = lengths(part)
        most = max(of, key=lambda p: of[p])
        print(
            f"| {part}/ | {len(of)} | {sum(of.values()):,} | {statistics.median(of.values()):.0f} | "
            f"{of[most]}, `{most.as_posix()}` |"
        )


if __name__ == "__main__":
    main()
