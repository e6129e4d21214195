"""Finds results that are unused, damaged or missing, and removes what is of no use."""
