"""Check a built site: every link and anchor leads somewhere, and nothing is fetched from elsewhere.

``python tools/manual/check.py build/site``
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {("script", "src"), ("img", "src"), ("link", "href"), ("source", "src"), ("iframe", "src")}
"""What a browser fetches by itself, as other than what is followed by a click."""

NAMED_ONLY = {"canonical", "prev", "next"}
STYLED = re.compile(r"url\(\s*[\"']?(https?:)?//|@import\s+[\"']?https?:", re.IGNORECASE)


@dataclass
class Page(HTMLParser):
    """What a page refers to, and the anchors it has."""

    links: list[tuple[str, str]] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the references and anchors of a tag."""
        given = {name: value for name, value in attrs if value}
        self.anchors |= {given[n] for n in ("id", "name") if n in given}
        if tag == "link" and given.get("rel") in NAMED_ONLY:
            return
        self.links += [
            ("fetched" if (tag, n) in FETCHED else "followed", given[n]) for n in ("href", "src") if n in given
        ]


def read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text())
    return page


def faults(site: Path) -> Iterator[str]:
    """Return what is wrong with a site, a line each."""
    pages = {path.resolve(): read(path) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        where = path.relative_to(site.resolve())
        for kind, link in page.links:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https") or link.startswith("//"):
                if kind == "fetched":
                    yield f"{where}: fetches {link}"
                continue
            if parts.scheme or where.name == "404.html":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                yield f"{where}: {link} leads nowhere"
            elif target in pages and unquote(parts.fragment) not in {"", *pages[target].anchors}:
                yield f"{where}: {link} names no anchor"
    for style in sorted(site.rglob("*.css")):
        if STYLED.search(style.read_text()):
            yield f"{style.relative_to(site)}: fetches from elsewhere"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", type=Path)
    site = parser.parse_args().site
    found = list(faults(site))
    print(
        "\n".join(found) or f"{len(list(site.rglob('*.html')))} pages: every link leads somewhere, nothing is fetched"
    )
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
