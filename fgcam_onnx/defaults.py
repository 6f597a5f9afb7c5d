"""What is taken where nothing is said."""

METHOD = "fgcam"
"""How a prediction is explained."""
