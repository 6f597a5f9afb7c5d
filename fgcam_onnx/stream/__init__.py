"""Items from a source, turned into rows by a work, kept by a sink as they are made; a journal says how far it got.

Imports errors and imaging.
"""

from .engine import Work as Work
from .engine import finish as finish
from .engine import run as run
from .hands import ENGINES as ENGINES
from .hands import Engine as Engine
from .hands import Hands as Hands
from .items import Item as Item
from .items import from_paths as from_paths
from .journal import Journal as Journal
from .shards import Shard as Shard
from .shards import cut as cut
from .shards import digest as digest
from .sinks import Kept as Kept
from .sinks import Lines as Lines
from .sinks import Row as Row
from .sinks import Sink as Sink
from .sources import File as File
from .sources import Member as Member
from .sources import Readable as Readable
from .sources import Source as Source
from .stores import Store as Store
