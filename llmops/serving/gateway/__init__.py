"""Serves an OpenAI-compatible endpoint in front of all deployments, as plain ASGI with aiohttp to the engines."""
