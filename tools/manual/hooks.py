"""What the manual shows that is no page of docs/: the project's own pages, and the reference of names."""

from __future__ import annotations

import importlib
import inspect
import posixpath
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import click
from mkdocs.structure.files import File, Files

from fgcam_onnx.cli import COMMANDS, cli

ROOT = Path(__file__).parents[2]
PROJECT = {
    "README.md": "index.md",
    "CHANGELOG.md": "project/CHANGELOG.md",
    "CONTRIBUTING.md": "project/CONTRIBUTING.md",
    "LICENSE": "project/LICENSE.txt",
    "exported_models/README.md": "project/exported_models.md",
    "tools/README.md": "project/tools.md",
}
"""Pages outside docs/, and where the manual has them."""

ELSEWHERE = "https://unpkg.com/iframe-worker/shim"
"""Where the theme would fetch what lets a page search that is opened from disk."""

LINK = re.compile(r"(\]\()([^)#:\s]+)((?:#[^)]*)?\))")
MODULE = re.compile(r"^\| `(fgcam_onnx[\w.]*)` \| (.+?) \| (.+) \|$", re.MULTILINE)
LIST_ITEM = re.compile(r"^(?:[-*] |\d+\. )")


def place(path: str) -> str:
    """Return where the manual has a file, both seen from where they begin: the checkout, docs/."""
    return PROJECT.get(path, posixpath.relpath(path, "docs"))


def relinked(text: str, source: str, page: str) -> str:
    """Return a page's Markdown with the links of ``source`` (in the checkout) as ``page`` (of the manual) has them."""

    def link(found: re.Match[str]) -> str:
        target = place(posixpath.normpath(posixpath.join(posixpath.dirname(source), found[2])))
        return f"{found[1]}{posixpath.relpath(target, posixpath.dirname(page) or '.')}{found[3]}"

    return LINK.sub(link, text)


def spaced(text: str) -> str:
    """Return Markdown with an empty line before each list, which Python-Markdown needs and others do not."""
    lines: list[str] = []
    fenced = False
    for line in text.split("\n"):
        fenced ^= line.lstrip().startswith("```")
        before = lines[-1] if lines else ""
        if (
            not fenced
            and LIST_ITEM.match(line)
            and before.strip()
            and before[0] not in " -*|"
            and not LIST_ITEM.match(before)
        ):
            lines.append("")
        lines.append(line)
    return "\n".join(lines)


def written(home: ModuleType, name: str) -> bool:
    """Return whether the source has a definition of a public name, and not only something that makes it."""
    source = inspect.getsource(sys.modules[getattr(getattr(home, name), "__module__", home.__name__)])
    return bool(re.search(rf"^(?:class |def )?{name}\b", source, re.MULTILINE))


def reference() -> str:
    """Return the page of every public name, module by module, from docs/python.md's table."""
    parts = [
        "# Python, every name",
        "What can be relied on, from the docstrings. [Public names and versions](../python.md) says what that means.",
        "",
    ]
    for module, purpose, names in MODULE.findall((ROOT / "docs" / "python.md").read_text()):
        plain = re.sub(r" \(\[[^)]*\)\)$", "", purpose)
        parts += [f"## `{module}`", "", f"{plain[:1].upper()}{plain[1:]}.", ""]
        home = importlib.import_module(module)
        made = []
        for name in re.findall(r"`(\w+)`", names):
            if written(home, name):
                parts += [f"::: {module}.{name}", ""]
            else:
                made.append(f"`{name}`")
        parts += [f"Also {', '.join(made)}.", ""] if made else []
    return "\n".join(parts)


def helped(command: click.Command, path: str) -> str:
    """Return the help of a command: what it does, examples as a block, usage, every option in a row."""
    context = click.Context(command, info_name=path)
    told, *examples = inspect.cleandoc(command.help or "").split("\b\n")
    usage = " ".join((path, *command.collect_usage_pieces(context)))
    records = [p.get_help_record(context) for p in command.get_params(context) if isinstance(p, click.Option)]
    rows = [f"| `{names}` | {escaped(said)} |" for names, said in filter(None, records)]
    parts = [f"## {path}", told, f"```text\n{usage}\n```", *(f"```text\n{e.strip()}\n```" for e in examples)]
    return "\n\n".join([*parts, "\n".join(["| option | what it does |", "| --- | --- |", *rows]), ""])


def escaped(text: str) -> str:
    """Return text as it may stand in a row of a table."""
    return re.sub(r"([|*<\[\]])", r"\\\1", " ".join(text.split()))


def commands() -> str:
    """Return the page of every option, command by command."""
    said = "From the commands' own help. [The command line, explained](../cli.md) says what they do.\n"
    parts = [helped(cli.get_command(click.Context(cli), name), f"fgcam {name}") for name in COMMANDS]
    return "\n".join(["# Command line, every option", "", said, *parts])


def on_files(files: Files, *, config: Any) -> Files:
    """Add the project's own pages, and the reference."""
    for source, page in PROJECT.items():
        text = (ROOT / source).read_text()
        files.append(
            File.generated(config, page, content=relinked(text, source, page) if page.endswith(".md") else text)
        )
    files.append(File.generated(config, "reference/python.md", content=reference()))
    files.append(File.generated(config, "reference/cli.md", content=commands()))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Make what GitHub reads as a list or a link out of docs/ one here, too."""
    path = page.file.src_uri
    own = page.file.generated_by is None
    return spaced(relinked(markdown, f"docs/{path}", path) if own else markdown)


def on_post_page(output: str, *, page: Any, config: Any) -> str:
    """Take the worker of the search from the site, and not from elsewhere."""
    return output.replace(ELSEWHERE, f"{posixpath.relpath('assets/worker.js', posixpath.dirname(page.url) or '.')}")


def on_post_template(output_content: str, *, template_name: str, config: Any) -> str:
    """The same, of pages that are none: of what is not found."""
    return output_content.replace(ELSEWHERE, "assets/worker.js")
