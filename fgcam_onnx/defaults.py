"""What is taken where nothing is said."""

METHOD = "fgcam"
"""How a prediction is explained."""

BASE = "gradcam"
"""The CAM that is refined, where the kind of net does not decide."""
