"""Builds the resources of the kinds, one order per process; heavy libraries are imported only here."""
