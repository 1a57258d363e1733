//! Every call: its ids, its span, its one log line at the end, and details in every error.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use bytestring::ByteString;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header::CONTENT_TYPE};
use http_body::Frame;
use metrics::counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Code, Status, body::Body, transport::server::TcpConnectInfo};
use tower::{Layer, Service};
use tracing::{Instrument, error_span};
use uuid::Uuid;

use super::{
    end::End,
    reason::Reason,
    status::{Problem, draining, too_many_streams},
};
use crate::{domain::limits, shutdown::Shutdown, telemetry::metric};

/// Streams of health checks and reflection that are open at once; anybody may open them.
const OPEN_STREAMS: usize = 1000;

const REQUEST_ID: &str = "x-request-id";
const CORRELATION_ID: &str = "x-correlation-id";
const TRACEPARENT: &str = "traceparent";

/// What is known of a call before its message is read. It is among the request's extensions.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    request_id: String,
    correlation_id: Option<ByteString>,
    traceparent: Option<ByteString>,
    peer: String,
    principal: OnceLock<ByteString>,
}

impl Call {
    /// Reads a call's metadata; the error says which of it is not acceptable.
    fn read(headers: &HeaderMap, peer: String) -> Result<Self, (Self, Status)> {
        let text = |name: &str| headers.get(name).map(|value| (value, value.to_str()));
        let valid = |value: &str| (1..=limits::ID_BYTES).contains(&value.len());
        let (mut request_id, mut bad) = (None, None);
        match text(REQUEST_ID) {
            None => {}
            Some((_, Ok(id))) if valid(id) => request_id = Some(id.to_owned()),
            Some(_) => bad = Some(REQUEST_ID),
        }
        let correlation_id = match text(CORRELATION_ID) {
            None => None,
            Some((_, Ok(id))) if valid(id) => Some(ByteString::from(id)),
            Some(_) => {
                bad = Some(CORRELATION_ID);
                None
            }
        };
        // The standard has receivers ignore what is not valid.
        let traceparent = text(TRACEPARENT).and_then(|(_, value)| value.ok()).filter(|value| is_traceparent(value));
        let call = Self {
            inner: Arc::new(Inner {
                request_id: request_id.unwrap_or_else(|| Uuid::now_v7().to_string()),
                correlation_id,
                traceparent: traceparent.map(ByteString::from),
                peer,
                principal: OnceLock::new(),
            }),
        };
        match bad {
            None => Ok(call),
            Some(name) => {
                let text = format!("{name} is 1 to {} printable ASCII characters", limits::ID_BYTES);
                Err((call, Problem::new(Reason::RequestInvalid, text).into()))
            }
        }
    }

    /// The correlation id for events without one: the call's, else its trace's, else none.
    pub(crate) fn correlation_id(&self) -> ByteString {
        let trace = || self.inner.traceparent.as_ref().and_then(|trace| trace.split('-').nth(1)).map(ByteString::from);
        self.inner.correlation_id.clone().or_else(trace).unwrap_or_default()
    }

    /// The call's W3C trace context.
    pub(crate) fn traceparent(&self) -> Option<&ByteString> {
        self.inner.traceparent.as_ref()
    }

    /// Names the call in answers and logs.
    pub(super) fn request_id(&self) -> &str {
        &self.inner.request_id
    }

    /// Who is calling, for the log; `-` if nobody was named.
    pub(super) fn principal(&self) -> &str {
        self.inner.principal.get().map_or("-", |name| &**name)
    }

    /// The client's address.
    pub(crate) fn peer(&self) -> &str {
        &self.inner.peer
    }

    /// Notes who is calling, for the log.
    pub(crate) fn set_principal(&self, name: ByteString) {
        // Set once: a call is authenticated once.
        let _ = self.inner.principal.set(name);
    }

    /// The call of a request; a request that came past the layer has none, and gets an empty one.
    pub(crate) fn of<T>(request: &tonic::Request<T>) -> Self {
        let found = request.extensions().get::<Self>().cloned();
        found.unwrap_or_else(|| match Self::read(&HeaderMap::new(), String::new()) {
            Ok(call) | Err((call, _)) => call,
        })
    }
}

/// `00-<32 hex>-<16 hex>-<2 hex>`, ids not all zero, as W3C Trace Context has it.
fn is_traceparent(value: &str) -> bool {
    let parts: Vec<&str> = value.split('-').collect();
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let id = |part: &str, len| hex(part, len) && part.bytes().any(|b| b != b'0');
    match parts.as_slice() {
        [version, trace, span, flags] => *version == "00" && id(trace, 32) && id(span, 16) && hex(flags, 2),
        _ => false,
    }
}

/// The refusal of what only looks like a call; tonic would take it for one, whatever its verb.
fn not_grpc(request: &Request<Body>) -> Option<Status> {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_grpc = content_type.is_some_and(|value| value.starts_with("application/grpc"));
    (request.method() != Method::POST || !is_grpc).then(|| {
        let message = "a call is a POST with the content type application/grpc; use a gRPC client";
        Problem::new(Reason::MessageMalformed, message).into()
    })
}

/// Puts a [`Call`] around every call.
#[derive(Debug, Clone)]
pub(crate) struct CallLayer {
    shutdown: Shutdown,
    open_streams: Arc<Semaphore>,
}

impl CallLayer {
    pub(crate) fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, open_streams: Arc::new(Semaphore::new(OPEN_STREAMS)) }
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = CallService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CallService { inner, shutdown: self.shutdown.clone(), open_streams: self.open_streams.clone() }
    }
}

/// See [`CallLayer`].
#[derive(Debug, Clone)]
pub(crate) struct CallService<S> {
    inner: S,
    shutdown: Shutdown,
    open_streams: Arc<Semaphore>,
}

impl<S> CallService<S> {
    /// Room for a stream that anybody may open without a credential; `None` if it is another call.
    fn foreign(&self, method: &str) -> Result<Option<Foreign>, Status> {
        if !is_foreign_stream(method) {
            return Ok(None);
        }
        let Ok(room) = self.open_streams.clone().try_acquire_owned() else {
            counter!(metric::STREAMS_REFUSED).increment(1);
            let message = format!("{OPEN_STREAMS} streams of health checks and reflection are open; use fewer");
            return Err(too_many_streams(message, "server").into());
        };
        Ok(Some(Foreign { drain: Some(drain_of(self.shutdown.clone())), _room: room }))
    }
}

impl<S> Service<Request<Body>> for CallService<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let peer = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
        let peer = peer.map_or_else(String::new, |peer: SocketAddr| peer.to_string());
        let (call, refusal) = match Call::read(request.headers(), peer) {
            Ok(call) => (call, None),
            Err((call, status)) => (call, Some(status)),
        };
        let refusal = refusal.or_else(|| not_grpc(&request));
        let method = request.uri().path().to_owned();
        let (foreign, refusal) = match (refusal, self.foreign(&method)) {
            (None, Ok(foreign)) => (foreign, None),
            (Some(refusal), _) | (None, Err(refusal)) => (None, Some(refusal)),
        };
        // Of the highest level, so that whatever a call logs has it, however little is logged.
        let correlation_id = Some(call.correlation_id()).filter(|id| !id.is_empty());
        let span =
            error_span!("call", %method, request_id = call.request_id(), correlation_id = correlation_id.as_deref());
        let end = End::begin(call.clone(), method, span.clone());
        if let Some(status) = refusal {
            return Box::pin(async move { Ok(finish(status.into_http(), end, None)) });
        }
        request.extensions_mut().insert(call);
        // The clone is ready as the original was; the original is replaced by one that need not be.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let work = async move {
            let response = inner.call(request).await?;
            Ok(finish(response, end, foreign))
        };
        Box::pin(work.instrument(span))
    }
}

/// Completes a response: an error at once gets its details; a body is watched to its end.
fn finish(response: Response<Body>, mut end: End, foreign: Option<Foreign>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    if let Some(status) = Status::from_header_map(&parts.headers) {
        let status = end.status(status);
        if status.code() != Code::Ok {
            parts = status.into_http::<Body>().into_parts().0;
        }
    }
    if let Ok(id) = HeaderValue::from_str(end.call.request_id()) {
        parts.headers.insert(REQUEST_ID, id);
    }
    Response::from_parts(parts, Body::new(WatchedBody { body, end, foreign }))
}

/// A body that notes how the call ends.
struct WatchedBody {
    body: Body,
    end: End,
    foreign: Option<Foreign>,
}

/// A stream of gRPC's own services, which nobody else counts, nor ends when the server drains.
struct Foreign {
    drain: Option<Drain>,
    _room: OwnedSemaphorePermit,
}

type Drain = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The streams of gRPC's own services go on for ever; ours end by themselves.
fn is_foreign_stream(method: &str) -> bool {
    method.ends_with("/Watch") || method.ends_with("/ServerReflectionInfo")
}

fn drain_of(shutdown: Shutdown) -> Drain {
    Box::pin(async move { shutdown.draining().await })
}

impl http_body::Body for WatchedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let span = self.end.span.clone();
        let _entered = span.enter();
        // What is ready goes out first: a health check that is watched says NOT_SERVING before it ends.
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let drain = self.foreign.as_mut().and_then(|foreign| foreign.drain.as_mut());
        if polled.is_pending() && drain.is_some_and(|drain| drain.as_mut().poll(cx).is_ready()) {
            self.foreign = None;
            self.body = Body::empty();
            let status = Status::from(draining("the server is draining; connect again"));
            let mut trailers = HeaderMap::new();
            // Headers of our own making fit.
            let _ = status.add_header(&mut trailers);
            return Poll::Ready(Some(Ok(Frame::trailers(self.end.trailers(trailers)))));
        }
        let Some(frame) = ready!(polled) else {
            self.end.complete();
            return Poll::Ready(None);
        };
        let frame = frame.map(|frame| match frame.into_trailers() {
            Ok(trailers) => Frame::trailers(self.end.trailers(trailers)),
            Err(frame) => frame,
        });
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::{Call, is_traceparent};

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn call(headers: &[(&'static str, &str)]) -> Option<Call> {
        let headers: HeaderMap = headers.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect();
        Call::read(&headers, String::new()).ok()
    }

    #[test]
    fn the_correlation_id_is_the_calls_else_its_traces() {
        assert_eq!(call(&[]).unwrap().correlation_id(), "");
        assert_eq!(call(&[("traceparent", TRACE)]).unwrap().correlation_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(call(&[("traceparent", TRACE), ("x-correlation-id", "c")]).unwrap().correlation_id(), "c");
    }

    #[test]
    fn ids_that_are_not_acceptable_are_refused() {
        let long = "x".repeat(129);
        for name in ["x-request-id", "x-correlation-id"] {
            assert!(call(&[(name, &long[1..])]).is_some());
            assert!(call(&[(name, &long)]).is_none());
            assert!(call(&[(name, "")]).is_none());
        }
    }

    #[test]
    fn a_trace_context_that_is_not_valid_is_ignored() {
        assert!(is_traceparent(TRACE));
        for bad in ["", "00", &TRACE.to_uppercase(), &TRACE[1..], &format!("{TRACE}-x"), &TRACE.replace("4bf9", "4bg9")]
        {
            assert!(!is_traceparent(bad), "{bad} was taken");
        }
    }
}
