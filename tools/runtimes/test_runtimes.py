"""An exported file gives the explainer's map in every runtime; the table in the docs is what was found."""

from __future__ import annotations

import functools

import numpy as np
import onnx
import pytest
from cases import Case, Written, cases, write
from engines import ENGINES, ROOT, Engine, MissingError, Result, told
from table import Cell, form, read, table
from table import write as write_table

from fgcam_onnx.graph.emitter import PREFIX

PAGE = ROOT / "docs" / "runtimes.md"
FOLDER = ROOT / "build" / "runtimes"
ALL = cases(FOLDER)
BY_NAME = {e.name: e for e in ENGINES}


@functools.cache
def exported() -> Written:
    return write(FOLDER)


@functools.cache
def result(name: str) -> Result | MissingError | Exception:
    exported()
    out = FOLDER / "found" / name.replace(" ", "_").replace(",", "")
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("*.bin"):
        old.unlink()
    try:
        return BY_NAME[name].run(FOLDER, out)
    except Exception as error:  # told in the tests that need it
        return error


def cell(engine: Engine, case: Case) -> Cell:
    """Return how ``case`` went in ``engine``."""
    found = result(engine.name)
    assert isinstance(found, Result), found
    if case.id in found.failures:
        return Cell(case.row, case.net.name, failed=found.failures[case.id])
    out = FOLDER / "found" / engine.name.replace(" ", "_").replace(",", "")
    one = next(c for c in told(FOLDER, largest=engine.largest) if c["id"] == case.id)
    worst = 0.0
    for run in one["runs"]:
        for i in range(len(one["outputs"])):
            wanted = np.fromfile(FOLDER / f"{run['id']}.{i}.wanted.bin", np.float32)
            got = np.fromfile(out / f"{run['id']}.{i}.bin", np.float32)
            if got.shape != wanted.shape:
                return Cell(case.row, case.net.name, failed=f"{run['id']}: {got.size} values, not {wanted.size}")
            worst = max(worst, float(np.abs(got - wanted).max() / np.abs(wanted).max()))
    failed = "" if worst <= engine.bound else f"off by {worst:.2g} of the largest value, more than {engine.bound:g}"
    return Cell(case.row, case.net.name, worst, failed)


def skip_unfit(case: Case) -> None:
    """Skip a method that the explainer refuses on the net, too."""
    if case.id in exported().unfit:
        pytest.skip(exported().unfit[case.id])


def taken(engine: Engine) -> list[Case]:
    return [c for c in ALL if c.net.small or engine.real]


@pytest.mark.parametrize("case", ALL, ids=lambda c: c.id)
def test_a_case_can_be_exported(case: Case) -> None:
    skip_unfit(case)
    assert exported().refused.get(case.id) is None


@pytest.mark.parametrize(
    ("engine", "case"), [pytest.param(e, c, id=f"{e.name}-{c.id}") for e in ENGINES for c in taken(e)]
)
def test_the_file_gives_the_explainers_map(engine: Engine, case: Case) -> None:
    found = result(engine.name)
    if isinstance(found, MissingError):
        pytest.skip(str(found))
    if isinstance(found, Exception):
        raise found
    skip_unfit(case)
    assert exported().refused.get(case.id) is None
    assert not cell(engine, case).failed


def test_the_table_in_the_docs_is_what_was_found() -> None:
    """Written where every runtime and net is here; its form, figures and versions aside, must not change."""
    missing = {e.name: r for e in ENGINES if not isinstance(r := result(e.name), Result)}
    if missing:
        pytest.skip("; ".join(f"{name}: {reason}" for name, reason in missing.items()))
    if not any(c.net.name == "vit_tiny_patch16_224_opset17" for c in ALL):
        pytest.skip("FGCAM_ASSETS is not set: the real models are not here")
    made, before = summary(), read(PAGE)
    write_table(PAGE, made)
    assert form(before) == form(made), f"{PAGE.name} has been written anew: look at it and commit it"


def summary() -> str:
    written = exported().cases
    columns = {e.name: [cell(e, c) for c in written if c in taken(e)] for e in ENGINES}
    versions = [f"- {e.name}: {r.version}" for e in ENGINES if isinstance(r := result(e.name), Result)]
    rows, names = (list(dict.fromkeys(x)) for x in ((c.row for c in written), (c.net.name for c in written)))
    return "\n\n".join(
        (
            "\n".join(versions),
            table(rows, columns, by="method"),
            table(names, columns, by="net"),
            f"Operators that were appended, in all these files together: {', '.join(appended(written))}.",
        )
    )


def appended(written: list[Case]) -> list[str]:
    """Return the operators of the explanations, the models' own aside."""
    nodes = [n for c in written for n in onnx.load(FOLDER / f"{c.id}.onnx", load_external_data=False).graph.node]
    return sorted({f"{n.domain}.{n.op_type}" if n.domain else n.op_type for n in nodes if n.name.startswith(PREFIX)})
