"""An OTLP endpoint that takes spans over HTTP and keeps their names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@contextmanager
def collector() -> Iterator[tuple[dict[str, str], list[str]]]:
    """OpenTelemetry's variables for it, and the names of the spans that it got."""
    names: list[str] = []

    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    names.extend(span.name for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Take)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield over_http(f"http://127.0.0.1:{server.server_port}"), names
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def over_http(endpoint: str) -> dict[str, str]:
    """OpenTelemetry's variables for `endpoint`."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
