"""Models cut at a tensor, joined again, or written a second time inside the same graph.

Imports errors, graph and loading.
"""
