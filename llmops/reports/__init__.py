"""values -> words: what people, pull requests and machines read. Pure; `cli` prints it."""
