"""CAM weightings: from activations and gradients, or masked runs, to components for each channel. Formulas on arrays.

Imports errors, graph and matrices.
"""
