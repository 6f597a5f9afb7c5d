"""Pages from templates."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    """Return the page that a template makes of values; text in them is escaped, plots are not.

    Parameters
    ----------
    template : str
        A file of ``report/templates``; it extends ``page.html``, which has the style and needs ``title``.
    **values
        What the template names.
    """
    import jinja2

    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["figures"] = figures
    environment.filters["script"] = script
    return environment.get_template(template).render(**values)


def figures(value: float | None) -> str:
    """Return a number as people read it: three digits, never in powers of ten above 0.001."""
    if value is None:
        return "–"
    if value and abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.3g}"


def script(value: Any) -> Any:
    """Return plain values as JSON that may stand inside a script element."""
    import markupsafe

    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return markupsafe.Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def embedded(image: Image.Image, *, side: int) -> str:
    """Return a picture, its longer side ``side`` pixels at most, as an address that holds it."""
    small = image.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
