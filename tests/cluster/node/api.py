"""Just enough of a client to see that the node is ready."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path

_TIMEOUT_S = 5


class Api:
    """The API server at an https URL, as the administrator whose certificate is in `pki`."""

    def __init__(self, server: str, pki: Path) -> None:
        self._server = server
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        # As Python 3.13 does by itself: certificates that it would refuse must not get through here either.
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        # No proxy of the environment may apply.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )

    def get(self, path: str) -> bytes:
        """The body of the answer. Raises OSError, also for an HTTP error."""
        with self._opener.open(self._server + path, timeout=_TIMEOUT_S) as answer:
            body: bytes = answer.read()
            return body

    def create(self, things: dict[str, dict[str, object]]) -> bool:
        """Creates each object at its path, unless it is there; True. Raises OSError, also for an HTTP error."""
        for path, thing in things.items():
            body = json.dumps(thing).encode()
            request = urllib.request.Request(self._server + path, body, {"Content-Type": "application/json"})
            try:
                self._opener.open(request, timeout=_TIMEOUT_S).close()
            except urllib.error.HTTPError as error:
                if error.code != 409:
                    raise
        return True

    def ready(self) -> bool:
        """Whether the API server is ready and its node too. Raises OSError."""
        self.get("/readyz")
        nodes = json.loads(self.get("/api/v1/nodes"))["items"]
        return bool(nodes) and all(_is_ready(node) for node in nodes)


def _is_ready(node: dict[str, dict[str, list[dict[str, str]]]]) -> bool:
    # The taint of a node that was not ready goes a moment after its condition came.
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"]["conditions"])
    return ready and not node["spec"].get("taints")
