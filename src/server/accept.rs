//! Accepting connections: no more than a limit, and none that does not say what it wants.
//!
//! tonic and axum would take any number of connections, and wait for ever for the first byte of each.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::Stream;
use metrics::{counter, gauge};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep, timeout},
};
use tonic::transport::server::{Connected, TcpConnectInfo};
use tracing::warn;

use crate::{shutdown::Shutdown, telemetry::metric};

/// A connection must have said so much within this time (DESIGN: the time of a TLS handshake).
const GREETING: Duration = Duration::from_secs(10);
/// Refusals that are being said at once; beyond that, connections are closed without a word.
const REFUSALS: usize = 64;
/// How long a client may take to hear the last words: a refusal, or the ends of its calls in a drain.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Pause after the system refused to accept, as when the process has too many files open.
const PAUSE: Duration = Duration::from_millis(100);

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    /// HTTP/2 for gRPC.
    Grpc,
    /// Plain HTTP/1.1 for probes.
    Http,
}

impl Spoken {
    /// Bytes that every client sends first: HTTP/2's preface and the head of its settings; a request line.
    fn greeting_bytes(self) -> usize {
        match self {
            Self::Grpc => 24 + 9,
            Self::Http => 16,
        }
    }

    /// What is said to a client for which there is no room: in HTTP/2 empty settings, and GOAWAY with
    /// ENHANCE_YOUR_CALM (RFC 9113, sections 6.5, 6.8 and 7).
    fn refusal(self) -> Vec<u8> {
        const REASON: &[u8] = b"too many connections";
        match self {
            Self::Grpc => {
                let mut frames = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
                frames.extend([0, 0, 8 + REASON.len() as u8, 7, 0, 0, 0, 0, 0]);
                frames.extend([0, 0, 0, 0, 0, 0, 0, 0xb]);
                frames.extend(REASON);
                frames
            }
            Self::Http => {
                b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_vec()
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Grpc => "gRPC",
            Self::Http => "HTTP",
        }
    }
}

/// A port, with room for a number of connections.
#[derive(Debug)]
pub(super) struct Gate {
    listener: TcpListener,
    spoken: Spoken,
    limit: usize,
    room: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    shutdown: Shutdown,
    /// The last connection was refused; said once until there is room again.
    full: bool,
}

impl Gate {
    /// A gate of at most `limit` connections.
    pub(super) fn new(listener: TcpListener, spoken: Spoken, limit: usize, shutdown: Shutdown) -> Self {
        let room = Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
        let refusals = Arc::new(Semaphore::new(REFUSALS));
        Self { listener, spoken, limit, room, refusals, shutdown, full: false }
    }

    /// The next connection for which there is room. Cancelling it loses none.
    pub(super) async fn next(&mut self) -> (Connection, SocketAddr) {
        loop {
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                        warn!(%error, "a {} connection cannot be accepted", self.spoken.name());
                        sleep(PAUSE).await;
                    }
                    continue;
                }
            };
            match self.room.clone().try_acquire_owned() {
                Ok(slot) => {
                    self.full = false;
                    // Frames go out at once; a system that cannot do that is merely slower.
                    let _ = stream.set_nodelay(true);
                    return (Connection::new(stream, self.spoken, slot), peer);
                }
                Err(_) => self.refuse(stream),
            }
        }
    }

    /// The connections, one after the other, as tonic wants them.
    pub(super) fn stream(self) -> impl Stream<Item = io::Result<Connection>> {
        futures::stream::unfold(self, |mut gate| async move {
            let (connection, _) = gate.next().await;
            Some((Ok(connection), gate))
        })
    }

    fn refuse(&mut self, mut stream: TcpStream) {
        counter!(metric::CONNECTIONS_REFUSED).increment(1);
        if !self.full {
            warn!(limit = self.limit, "no room for more {} connections; refusing them", self.spoken.name());
            self.full = true;
        }
        let Ok(permit) = self.refusals.clone().try_acquire_owned() else { return };
        let words = self.spoken.refusal();
        self.shutdown.spawn(async move {
            let said = async {
                stream.write_all(&words).await?;
                stream.shutdown().await?;
                // Closed with bytes unread, the system would take back what was said.
                let mut rest = [0; 1024];
                while stream.read(&mut rest).await? > 0 {}
                io::Result::Ok(())
            };
            // A client that does not listen is not told.
            let _ = timeout(LAST_WORDS, said).await;
            drop(permit);
        });
    }
}

impl axum::serve::Listener for Gate {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        self.next().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// An accepted connection; dropping it makes room for another.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    greeting: Option<Greeting>,
    /// Set once nothing more is said: until when it is listened to.
    linger: Option<Pin<Box<Sleep>>>,
    spoken: Spoken,
    _slot: OwnedSemaphorePermit,
}

/// What a client has still to say, and until when.
#[derive(Debug)]
struct Greeting {
    missing: usize,
    deadline: Pin<Box<Sleep>>,
}

impl Connection {
    fn new(stream: TcpStream, spoken: Spoken, slot: OwnedSemaphorePermit) -> Self {
        let greeting = Greeting { missing: spoken.greeting_bytes(), deadline: Box::pin(sleep(GREETING)) };
        if spoken == Spoken::Grpc {
            gauge!(metric::CONNECTIONS).increment(1.0);
        }
        Self { stream, greeting: Some(greeting), linger: None, spoken, _slot: slot }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.spoken == Spoken::Grpc {
            gauge!(metric::CONNECTIONS).decrement(1.0);
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Some(greeting) = &mut this.greeting else { return Pin::new(&mut this.stream).poll_read(cx, buf) };
        let before = buf.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(cx, buf) {
            greeting.missing = greeting.missing.saturating_sub(buf.filled().len() - before);
            if greeting.missing == 0 {
                this.greeting = None;
            }
            return Poll::Ready(read);
        }
        ready!(greeting.deadline.as_mut().poll(cx));
        counter!(metric::GREETING_TIMEOUTS).increment(1);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Says that nothing more comes, and listens until the client has closed its side, for a moment at most.
    /// A socket that is closed with bytes unread takes back what was said last (RFC 1122, section 4.2.2.13):
    /// a client that still sends would never hear why its stream ended.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let linger = match &mut this.linger {
            Some(linger) => linger,
            None => {
                ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                this.linger.insert(Box::pin(sleep(LAST_WORDS)))
            }
        };
        let mut unread = [0; 4096];
        while linger.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut unread);
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
