"""Handles files, locks, processes and signals of this machine."""
