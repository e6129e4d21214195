"""Renders results in the formats of `--output`: one folder for each command, one file for each format."""
