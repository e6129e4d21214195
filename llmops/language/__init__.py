"""Reads, checks and writes what users write: YAML, JSON Schema, Jinja and regular expressions."""
