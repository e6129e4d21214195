"""Turns a plan into traffic."""
