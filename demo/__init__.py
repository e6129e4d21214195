"""The demonstration: a small system of its own, from the first commit to a revert, on real text and a real model."""
