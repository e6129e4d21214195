"""Turns orders into outcomes."""
