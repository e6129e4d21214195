"""Defines what the author of a plug-in implements, and finds plug-ins."""
