"""An audit as JUnit XML, which pipelines show: a test for each verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from .verdicts import Verdict


def junit(verdicts: Sequence[Verdict], *, errors: Mapping[str, str], models: Mapping[str, str]) -> bytes:
    """Return the XML: what fails is a failure, what cannot be judged or read an error; models are properties."""
    counts = {
        "tests": len(verdicts) + len(errors),
        "failures": sum(v.outcome == "fails" for v in verdicts),
        "errors": sum(v.outcome == "undecided" for v in verdicts) + len(errors),
    }
    suite = ElementTree.Element("testsuite", {"name": "fgcam audit", **{n: str(v) for n, v in counts.items()}})
    told = ElementTree.SubElement(suite, "properties")
    for name, model in models.items():
        ElementTree.SubElement(told, "property", {"name": name, "value": _plain(model)})
    for verdict in verdicts:
        case = ElementTree.SubElement(suite, "testcase", {"classname": "audit", "name": _plain(verdict.measure)})
        if verdict.outcome != "passes":
            tag = "failure" if verdict.outcome == "fails" else "error"
            ElementTree.SubElement(case, tag, {"message": _plain(verdict.reason)})
    for item, why in errors.items():
        case = ElementTree.SubElement(suite, "testcase", {"classname": "picture", "name": _plain(item)})
        ElementTree.SubElement(case, "error", {"message": _plain(why)})
    ElementTree.indent(suite)
    text: bytes = ElementTree.tostring(suite, "utf-8", xml_declaration=True)
    return text + b"\n"


def _plain(text: str) -> str:
    """Return text without the characters that XML cannot hold."""
    kept = (
        c if c in "\t\n\r" or 0x20 <= ord(c) < 0xD800 or 0xE000 <= ord(c) < 0xFFFE or ord(c) > 0xFFFF else "?"
        for c in text
    )
    return "".join(kept)
