"""Everything that is read from git or written to it."""
