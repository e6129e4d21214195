"""Lists the middleware, which handles requests on their way to an engine and the answers: one file each."""

import sys

from llmops.plugins.registry import Registry

MIDDLEWARE = Registry(sys.modules[__name__], "MIDDLEWARE", "llmops.middleware")
