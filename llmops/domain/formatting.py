"""Formats figures the same way everywhere.

Pure.
"""

from collections.abc import Mapping


def number(value: float) -> str:
    """Format a figure with four significant digits, and a whole or large one without a fraction."""
    if float(value).is_integer() or 1e3 < abs(value) < 1e15:  # noqa: PLR2004  four digits; a float has no more than 15
        return f"{value:.0f}"
    return f"{value:.4g}"


def shortened(text: str, most: int) -> str:
    """Write a text on one line of at most so many characters; ``…`` marks a cut."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def figures(values: Mapping[str, float]) -> str:
    """Format figures in a line: ``acc 0.83, items 316``."""
    return ", ".join(f"{name} {number(value)}" for name, value in values.items())
