"""Holds the version of llmops.

Pure.
"""

from __future__ import annotations

__version__ = "0.1.0"
