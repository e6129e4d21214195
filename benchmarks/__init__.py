"""Measures how fast llmops is, beside its peers and beside the fastest possible program, in the same run.

Pure.
"""
