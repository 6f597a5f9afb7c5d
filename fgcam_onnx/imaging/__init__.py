"""Pictures in and out: reading, preprocessing, labels, overlays and files. Knows nothing of graphs.

Imports asked, emptiness, errors, files and matrices.
"""

from fgcam_onnx.imaging.drawing import Seen, Style, drawn
from fgcam_onnx.imaging.finding import find_images
from fgcam_onnx.imaging.footers import footed
from fgcam_onnx.imaging.labels import find_label, read_labels
from fgcam_onnx.imaging.likeness import likeness, likenesses
from fgcam_onnx.imaging.overlay import coloured, heatmap, normalize, overlay
from fgcam_onnx.imaging.placing import Placement, Prepared, placements_of
from fgcam_onnx.imaging.preprocess import PRESETS, Preprocess
from fgcam_onnx.imaging.reading import read_image
from fgcam_onnx.imaging.sampled import Sampled
from fgcam_onnx.imaging.shading import Shades, shaded
from fgcam_onnx.imaging.sheets import contact_sheet, panel
from fgcam_onnx.imaging.sidecar import find_sidecar, preprocess_from, sidecar_labels
from fgcam_onnx.imaging.writing import make_folder, save_json, save_npy, save_png, write_atomically

__all__ = [
    "PRESETS",
    "Placement",
    "Prepared",
    "Preprocess",
    "Sampled",
    "Seen",
    "Shades",
    "Style",
    "coloured",
    "contact_sheet",
    "drawn",
    "find_images",
    "find_label",
    "find_sidecar",
    "footed",
    "heatmap",
    "likeness",
    "likenesses",
    "make_folder",
    "normalize",
    "overlay",
    "panel",
    "placements_of",
    "preprocess_from",
    "read_image",
    "read_labels",
    "save_json",
    "save_npy",
    "save_png",
    "shaded",
    "sidecar_labels",
    "write_atomically",
]
