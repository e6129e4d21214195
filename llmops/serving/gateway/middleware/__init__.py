"""One file per middleware: what the gateway does with a request on its way to an engine, and with the answer."""

import sys

from llmops.plugins.registry import Registry

MIDDLEWARE = Registry(sys.modules[__name__], "MIDDLEWARE", "llmops.middleware")
