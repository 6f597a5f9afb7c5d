"""A page of one's own model: exported files, sample pictures and a program that runs them in the browser's tab.

Imports errors, exporter, graph, imaging, methods and version.
"""

from .runtime import LIBRARY as LIBRARY
from .runtime import runtime_files as runtime_files
from .serving import serving as serving
from .writing import Page as Page
from .writing import Shown as Shown
from .writing import claimed as claimed
from .writing import explained as explained
from .writing import write_page as write_page
