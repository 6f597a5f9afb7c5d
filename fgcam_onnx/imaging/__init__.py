"""Pictures in and out: reading, preprocessing, labels, overlays and files. Knows nothing of graphs.

Imports errors.
"""

from fgcam_onnx.imaging.finding import find_images
from fgcam_onnx.imaging.labels import find_label, read_labels
from fgcam_onnx.imaging.overlay import heatmap, normalize, overlay
from fgcam_onnx.imaging.preprocess import PRESETS, Preprocess
from fgcam_onnx.imaging.reading import read_image
from fgcam_onnx.imaging.sheets import contact_sheet, panel
from fgcam_onnx.imaging.sidecar import find_sidecar, preprocess_from, sidecar_labels
from fgcam_onnx.imaging.writing import make_folder, save_json, save_npy, save_png, write_atomically

__all__ = [
    "PRESETS",
    "Preprocess",
    "contact_sheet",
    "find_images",
    "find_label",
    "find_sidecar",
    "heatmap",
    "make_folder",
    "normalize",
    "overlay",
    "panel",
    "preprocess_from",
    "read_image",
    "read_labels",
    "save_json",
    "save_npy",
    "save_png",
    "sidecar_labels",
    "write_atomically",
]
