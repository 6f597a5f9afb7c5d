"""One house for every page: data and templates, plots as SVG, pictures inside; a page is one file.

Imports nothing.
"""

from .pages import embedded as embedded
from .pages import render as render
from .plots import Point as Point
from .plots import dots as dots
from .plots import lines as lines
