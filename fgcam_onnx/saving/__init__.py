"""Programs as files of their own: packed, checked, portable, in half precision, with pixels in and pictures out.

Imports errors, graph, loading and matrices.
"""
