"""The channel to a server: its address, TLS and the credential come from the environment."""

import os
import pathlib
import ssl
import urllib.parse

import grpc

SERVICE_CONFIG = pathlib.Path(__file__).parents[2] / "proto/eventflow/v1/service_config.json"

OPTIONS = (
    # Notices a connection that is dead without saying so, also between calls.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # A restart takes a second or two; the default would wait for up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.max_receive_message_length", 8 << 20),
    # Deadlines and retries of unary calls, and load balancing.
    ("grpc.service_config", SERVICE_CONFIG.read_text(encoding="utf-8")),
)


def channel() -> grpc.Channel:
    """To the server that EVENTFLOW_SERVER names."""
    address, credentials = _endpoint()
    if credentials:
        return grpc.secure_channel(address, credentials, options=OPTIONS)
    return grpc.insecure_channel(address, options=OPTIONS)


def metadata(key: str | None = None) -> tuple[tuple[str, str], ...]:
    """What each call carries: the API key, that of EVENTFLOW_API_KEY unless another one is given."""
    key = key or os.environ.get("EVENTFLOW_API_KEY")
    return (("authorization", f"Bearer {key}"),) if key else ()


def _endpoint() -> tuple[str, grpc.ChannelCredentials | None]:
    url = urllib.parse.urlsplit(os.environ.get("EVENTFLOW_SERVER", "http://127.0.0.1:50051"))
    if url.scheme not in ("http", "https"):
        raise SystemExit("EVENTFLOW_SERVER has to begin with http:// or https://")
    address = url.netloc if url.port else f"{url.netloc}:{443 if url.scheme == 'https' else 80}"
    return address, _tls() if url.scheme == "https" else None


def _tls() -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=_read("EVENTFLOW_CA_FILE") or _system_roots(),
        private_key=_read("EVENTFLOW_CLIENT_KEY_FILE"),
        certificate_chain=_read("EVENTFLOW_CLIENT_CERT_FILE"),
    )


def _read(variable: str) -> bytes | None:
    path = os.environ.get(variable)
    return pathlib.Path(path).read_bytes() if path else None


def _system_roots() -> bytes | None:
    """gRPC would take roots of its own; None, and with it those, if the system has none."""
    roots = ssl.create_default_context().get_ca_certs(binary_form=True)
    return "".join(map(ssl.DER_cert_to_PEM_cert, roots)).encode() or None
