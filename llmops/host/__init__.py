"""What llmops needs of the machine that it runs on."""
