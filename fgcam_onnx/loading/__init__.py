"""A file from a stranger becomes a ``Model``: read, checked, written in canonical forms, folded and typed.

Imports errors, graph and wheels.
"""
