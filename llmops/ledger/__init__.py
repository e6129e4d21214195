"""Records what was built and what runs, in git refs."""
