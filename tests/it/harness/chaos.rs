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

/// What is broken now, and where new connections lead to.
#[derive(Clone)]
struct Faults {
    target: Target,
    /// New connections are closed at once.
    refusing: bool,
    /// How often all connections were cut.
    cuts: u64,
    /// How often all connections were frozen.
    freezes: u64,
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
        let (refusing, cuts, freezes) = (false, 0, 0);
        let faults = Faults { target, refusing, cuts, freezes, stopped: Vec::new(), swallowed: None };
        let faults = watch::Sender::new(faults);
        let (accepted, swallowed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let connections = accept(listener, faults.subscribe(), Arc::clone(&accepted), Arc::clone(&swallowed));
        let task = tokio::spawn(connections).abort_handle();
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

    /// Makes every connection there is stand still for ever, in both directions and without an end, as a
    /// network does that has forgotten it; new ones are let through.
    pub fn freeze(&self) {
        self.faults.send_modify(|faults| faults.freezes += 1);
    }

    /// Leads connections made from now on to another Unix socket; those there are stay where they lead.
    pub fn retarget(&self, target: PathBuf) {
        self.faults.send_modify(|faults| faults.target = Target::Unix(target));
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
struct Connection {
    target: Target,
    faults: watch::Receiver<Faults>,
    swallowed: Arc<AtomicU64>,
}

async fn accept(
    listener: TcpListener,
    faults: watch::Receiver<Faults>,
    accepted: Arc<AtomicU64>,
    swallowed: Arc<AtomicU64>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let Faults { target, refusing, .. } = faults.borrow().clone();
        if refusing {
            continue;
        }
        accepted.fetch_add(1, Ordering::Relaxed);
        let connection = Connection { target, faults: faults.clone(), swallowed: Arc::clone(&swallowed) };
        tokio::spawn(connection.serve(client));
    }
}

impl Connection {
    async fn serve(mut self, client: TcpStream) {
        let Faults { cuts, freezes, .. } = self.faults.borrow_and_update().clone();
        let _delay = client.set_nodelay(true);
        let Ok(target) = self.connect().await else { return };
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_target, mut to_target) = tokio::io::split(target);
        tokio::select! {
            biased;
            // First, so that what is held back is not passed on after a cut. Also when the proxy itself is gone.
            () = self.comes(|faults| faults.cuts != cuts) => {}
            // Both ends stay open, and neither hears of the other's end.
            () = self.comes(|faults| faults.freezes != freezes) => self.comes(|faults| faults.cuts != cuts).await,
            _ = self.pump(&mut from_client, &mut to_target, Flow::ToTarget) => {}
            _ = self.pump(&mut from_target, &mut to_client, Flow::ToClient) => {}
        }
    }

    /// Waits for a fault, or for the end of the proxy.
    async fn comes(&self, fault: impl FnMut(&Faults) -> bool) {
        drop(self.faults.clone().wait_for(fault).await);
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
