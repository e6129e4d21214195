"""Lists the middleware, which handles requests on their way to an engine and the answers: one file each."""

from llmops.plugins.registry import Registry

MIDDLEWARE = Registry(__name__, "MIDDLEWARE", "llmops.middleware")
