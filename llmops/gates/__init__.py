"""Turns evidence into verdicts and comparisons."""
