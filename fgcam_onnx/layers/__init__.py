"""Where a map can be taken: layers, their channels, places and tokens, and the paths from them to the score.

Imports errors and graph.
"""
