"""Does the work behind the kinds, one order per process: ``python -m llmops.steps FOLDER``. Heavy imports stay here."""
