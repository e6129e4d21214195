"""Turns the files of a commit into a graph of digested resources, and compares two graphs."""
