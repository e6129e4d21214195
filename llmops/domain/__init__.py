"""Defines the frozen values that every other folder uses."""
