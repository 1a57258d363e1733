//! A small proxy that breaks connections in the ways networks do.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::AbortHandle,
};

use super::resp;

/// Bytes of one direction of a connection that are on their way at once, about.
const BUFFER_BYTES: usize = 1 << 16;

/// Listens on a loopback port and passes everything on, until told otherwise; dropping it cuts everything.
pub struct Proxy {
    address: SocketAddr,
    faults: watch::Sender<Faults>,
    accepted: Arc<AtomicU64>,
    swallowed: Arc<AtomicU64>,
    task: AbortHandle,
}

/// Where bytes flow to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// What the client sends.
    ToTarget,
    /// What the target answers.
    ToClient,
}

/// What a proxy stands before.
#[derive(Clone)]
enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// As `Tcp`, taken apart into replies.
    Redis(SocketAddr),
}

/// What is broken now.
#[derive(Clone, Default)]
struct Faults {
    /// New connections are closed at once.
    refusing: bool,
    /// How often all connections were cut.
    cuts: u64,
    /// Flows that stand still.
    stopped: Vec<Flow>,
    /// Published messages of channels whose names contain this vanish.
    swallowed: Option<String>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Proxy {
    /// A proxy before a TCP port.
    pub async fn to_tcp(target: SocketAddr) -> Proxy {
        Proxy::before(Target::Tcp(target)).await
    }

    /// A proxy before a Unix socket.
    pub async fn to_unix(target: PathBuf) -> Proxy {
        Proxy::before(Target::Unix(target)).await
    }

    /// A proxy before a Redis, which can swallow published messages.
    pub async fn to_redis(target: SocketAddr) -> Proxy {
        Proxy::before(Target::Redis(target)).await
    }

    async fn before(target: Target) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let faults = watch::Sender::new(Faults::default());
        let (accepted, swallowed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let connection = Connection { target, faults: faults.subscribe(), swallowed: Arc::clone(&swallowed) };
        let task = tokio::spawn(accept(listener, connection, Arc::clone(&accepted))).abort_handle();
        Proxy { address, faults, accepted, swallowed, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were let through so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// How many published messages were swallowed so far.
    pub fn swallowed(&self) -> u64 {
        self.swallowed.load(Ordering::Relaxed)
    }

    /// Cuts every connection there is; new ones are let through.
    pub fn cut(&self) {
        self.faults.send_modify(|faults| faults.cuts += 1);
    }

    /// Refuses new connections, or lets them through again.
    pub fn refuse(&self, refusing: bool) {
        self.faults.send_modify(|faults| faults.refusing = refusing);
    }

    /// Stops the bytes that flow in one direction; connections stay open.
    pub fn stop(&self, flow: Flow) {
        self.faults.send_modify(|faults| faults.stopped.push(flow));
    }

    /// Lets all bytes flow again, those held back first.
    pub fn flow(&self) {
        self.faults.send_modify(|faults| faults.stopped.clear());
    }

    /// Loses messages published on channels whose names contain `channel`; `None`: no more.
    pub fn swallow(&self, channel: Option<&str>) {
        self.faults.send_modify(|faults| faults.swallowed = channel.map(Into::into));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection, and what it needs to know.
#[derive(Clone)]
struct Connection {
    target: Target,
    faults: watch::Receiver<Faults>,
    swallowed: Arc<AtomicU64>,
}

async fn accept(listener: TcpListener, connection: Connection, accepted: Arc<AtomicU64>) {
    while let Ok((client, _)) = listener.accept().await {
        if connection.faults.borrow().refusing {
            continue;
        }
        accepted.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(connection.clone().serve(client));
    }
}

impl Connection {
    async fn serve(mut self, client: TcpStream) {
        let _delay = client.set_nodelay(true);
        let Ok(target) = self.connect().await else { return };
        let (from_client, to_client) = client.into_split();
        let (from_target, to_target) = tokio::io::split(target);
        let cuts = self.faults.borrow_and_update().cuts;
        let mut faults = self.faults.clone();
        tokio::select! {
            biased;
            // First, so that what is held back is not passed on after a cut. Also when the proxy itself is gone.
            _ = faults.wait_for(|faults| faults.cuts != cuts) => {}
            _ = self.pump(from_client, to_target, Flow::ToTarget) => {}
            _ = self.pump(from_target, to_client, Flow::ToClient) => {}
        }
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        match &self.target {
            Target::Tcp(address) | Target::Redis(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            Target::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
        }
    }

    async fn pump(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        flow: Flow,
    ) -> io::Result<()> {
        let mut faults = self.faults.clone();
        let mut waiting = Vec::new();
        loop {
            waiting.reserve(BUFFER_BYTES);
            if from.read_buf(&mut waiting).await? == 0 {
                return Ok(());
            }
            let passing = self.passing(flow, &mut waiting);
            if faults.wait_for(|faults| !faults.stopped.contains(&flow)).await.is_err() {
                return Ok(());
            }
            to.write_all(&passing).await?;
        }
    }

    /// Takes what may be passed on from what is waiting.
    fn passing(&self, flow: Flow, waiting: &mut Vec<u8>) -> Vec<u8> {
        if !matches!((&self.target, flow), (Target::Redis(_), Flow::ToClient)) {
            return std::mem::take(waiting);
        }
        let swallowed = self.faults.borrow().swallowed.clone();
        let mut passing = Vec::with_capacity(waiting.len());
        while let Some(length) = resp::reply_length(waiting) {
            let reply: Vec<u8> = waiting.drain(..length).collect();
            if swallowed.as_ref().is_some_and(|channel| resp::is_message(&reply, channel)) {
                self.swallowed.fetch_add(1, Ordering::Relaxed);
            } else {
                passing.extend(reply);
            }
        }
        passing
    }
}
