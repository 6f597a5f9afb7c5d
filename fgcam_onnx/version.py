"""The version, read by the package, the files it writes and its build."""

__version__ = "0.1.0"
