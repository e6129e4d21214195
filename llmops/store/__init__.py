"""Stores bytes under their digests."""
