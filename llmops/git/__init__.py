"""Reads and writes git: objects, trees, refs and signatures."""
