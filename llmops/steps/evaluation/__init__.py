"""Evaluates subjects on suites, and writes the evidence to the store."""
