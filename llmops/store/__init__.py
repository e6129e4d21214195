"""Keeps bytes under their digests."""
