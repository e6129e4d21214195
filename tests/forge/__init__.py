"""Reports to a forge: against a stand-in, GitHub's own description of its API, and an emulator."""
