"""One file per kind: its shape, its rules and the step that makes it. Adding a kind is adding a file."""
