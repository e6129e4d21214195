"""The work behind the kinds' steps. Run as ``python -m llmops.steps FOLDER``; heavy imports live here."""
