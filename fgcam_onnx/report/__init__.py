"""One house for every page: data and templates, plots as SVG, pictures inside; a page is one file."""

from .pages import embedded, render
from .plots import Point, dots, lines

__all__ = ["Point", "dots", "embedded", "lines", "render"]
