"""What the tools of this folder are called with."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Iterable


def _parser(doc: str | None) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def of_measurement(doc: str | None) -> argparse.ArgumentParser:
    """Return the arguments of a measurement: ASSETS, OUT and ``--only``."""
    p = _parser(doc)
    p.add_argument("assets", type=pathlib.Path, help="laid out as for tools/coverage/real_models.py")
    p.add_argument("out", type=pathlib.Path, help="what is made; a run that was stopped goes on from it")
    p.add_argument("--only", default="", help="a pattern of names")
    return p


def of_change(doc: str | None, kinds: Iterable[str]) -> argparse.ArgumentParser:
    """Return the arguments of a tool that changes a file: MODEL, KIND, ``-o``, ``--seed`` and ``--list``."""
    p = _parser(doc)
    p.add_argument("model", nargs="?", type=pathlib.Path)
    p.add_argument("kind", nargs="?", choices=sorted(kinds))
    p.add_argument("-o", "--output", type=pathlib.Path)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--list", action="store_true", help="say what kinds there are")
    return p
