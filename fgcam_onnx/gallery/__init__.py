"""Maps of pictures in rows and columns: as a sheet, a figure of matplotlib's, or HTML; how they are kept on disk.

Imports asked, errors, files, imaging, report and text.
"""

from .figure import drawn_figure as drawn_figure
from .kept import read as read
from .kept import write as write
from .markup import fragment as fragment
from .markup import scale_of as scale_of
from .placed import placed as placed
from .rows import Row as Row
from .rows import alone as alone
from .sheet import sheet as sheet
