"""A local cache, so that a plan costs what the change costs."""
