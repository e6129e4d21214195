"""Holds the version of llmops.

Pure.
"""

__version__ = "0.1.0"
