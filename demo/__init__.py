"""Demonstrates a small system from its first commit to a revert, on real text and with a real model."""
