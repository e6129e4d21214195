"""Finds unused, damaged and missing results, and removes useless files."""
