"""Finds what is unused or damaged, and removes it."""
