"""Formats of other tools that `llmops import` reads: one file each, whose `FORMAT` says how."""
