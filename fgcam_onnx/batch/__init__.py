"""A data set at a time: any number of pictures to Parquet, in one process or on Ray; nothing lost, nothing twice.

Imports arguments, defaults, errors, explainer, graph, imaging, loading, pictures, runtime, saving, stream, surgery,
text, version and written.
"""

from .dataset import explain_dataset
from .running import explain_source
from .summary import Summary
from .table import unpacked

__all__ = ["Summary", "explain_dataset", "explain_source", "unpacked"]
