"""Items from a source, turned into rows by a work, kept by a sink as they are made; a journal says how far it got."""

from .engine import Work, run
from .items import Item, from_paths
from .journal import Journal
from .sinks import Kept, Lines, Row, Sink

__all__ = ["Item", "Journal", "Kept", "Lines", "Row", "Sink", "Work", "from_paths", "run"]
