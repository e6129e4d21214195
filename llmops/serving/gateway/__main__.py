"""Serves the routing table in a file: ``python -m llmops.serving.gateway TABLE HOST PORT``.

Effects: listens on a port.
"""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn

from llmops.serving.gateway.app import GatewayApp

DRAIN_SECONDS = 30


def main(table: str, host: str, port: str) -> None:
    """Serve until a signal, then finish the requests in flight."""
    config = uvicorn.Config(
        GatewayApp(Path(table)),
        host=host,
        port=int(port),
        access_log=False,
        log_level="warning",
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main(*sys.argv[1:4])
