"""What an error says: its reason, the fields that it complains of, and whether a repeat may help."""

import dataclasses
from typing import Self

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from eventflow.v1 import event_service_pb2


@dataclasses.dataclass
class Refusal:
    """An error of a call, or of one request on a stream."""

    code: str
    reason: str = ""
    message: str = ""
    fields: list[str] = dataclasses.field(default_factory=list)
    request_id: str = ""
    # Seconds that the server asks to wait for; None: it asks for nothing.
    delay: float | None = None
    # The server says that a repeat is not safe.
    is_final: bool = False

    @classmethod
    def of(cls, error: grpc.RpcError) -> Self:
        """From an error of a call."""
        refusal = cls(code=error.code().name, message=error.details() or "")
        refusal._read_details(rpc_status.from_call(error))
        trailers = dict(error.trailing_metadata() or ())
        # The trailer is for languages and proxies that lose the details.
        refusal.reason = refusal.reason or trailers.get("eventflow-reason", "")
        if pushback := trailers.get("grpc-retry-pushback-ms"):
            refusal.is_final = not pushback.isdecimal()
            refusal.delay = None if refusal.is_final else int(pushback) / 1000
        return refusal

    @classmethod
    def of_request(cls, error: event_service_pb2.PublishError) -> Self:
        """From the error of one request on a PublishStream."""
        codes = {code.value[0]: code.name for code in grpc.StatusCode}
        refusal = cls(code=codes.get(error.code, "UNKNOWN"), message=error.message)
        refusal._read_details(status_pb2.Status(code=error.code, message=error.message, details=error.details))
        return refusal

    @property
    def is_retryable(self) -> bool:
        """Whether the same may succeed later. Only what is safe to repeat should then be repeated."""
        if self.is_final:
            return False
        return self.code == "UNAVAILABLE" or self.reason == "PREDECESSOR_FAILED" or self.delay is not None

    def _read_details(self, status: status_pb2.Status | None) -> None:
        for detail in status.details if status else ():
            info = error_details_pb2.ErrorInfo()
            bad_request = error_details_pb2.BadRequest()
            request_info = error_details_pb2.RequestInfo()
            retry_info = error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                self.reason = info.reason
            elif detail.Unpack(bad_request):
                self.fields = [violation.field for violation in bad_request.field_violations]
            elif detail.Unpack(request_info):
                self.request_id = request_info.request_id
            elif detail.Unpack(retry_info):
                self.delay = retry_info.retry_delay.ToTimedelta().total_seconds()

    def __str__(self) -> str:
        request = f" (request {self.request_id})" if self.request_id else ""
        return f"{self.code} {self.reason}: {self.message}{request}"


class Unavailable(Exception):
    """A stream that has to be opened again; the refusal says why, and how long to wait."""

    def __init__(self, refusal: Refusal):
        super().__init__(str(refusal))
        self.refusal = refusal

    @classmethod
    def because(cls, message: str) -> Self:
        """For what the client notices by itself."""
        return cls(Refusal(code="UNAVAILABLE", message=message))
