"""Compares what is declared with what was built and what runs: plans and status."""
