"""The steps that evaluate models and deployments."""
