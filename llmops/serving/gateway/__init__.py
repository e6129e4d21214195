"""The gateway: the OpenAI-compatible endpoint in front of every deployment. Plain ASGI; aiohttp to the engines."""
