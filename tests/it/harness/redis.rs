//! A private Redis, on a loopback port, with a password.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    ops::Range,
    path::PathBuf,
    sync::OnceLock,
    time::Duration,
};

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;

use super::{
    folder,
    guard::{Guarded, Program},
    patience::eventually_blocking,
};

/// Below those that systems give to whoever connects, or listens on any port.
const PORTS: Range<u16> = 10_000..30_000;

/// A running Redis of our own.
pub struct Redis {
    program: Option<Guarded>,
    folder: TempDir,
    address: SocketAddr,
    password: String,
}

impl Redis {
    /// The one of this run, started when first asked for.
    pub async fn shared() -> &'static Redis {
        static SHARED: OnceLock<Redis> = OnceLock::new();
        tokio::task::spawn_blocking(|| SHARED.get_or_init(Redis::start)).await.expect("Redis starts")
    }

    /// Another one, for a test that wants to stop, pause or kill it.
    pub async fn private() -> Redis {
        tokio::task::spawn_blocking(Redis::start).await.expect("Redis starts")
    }

    /// Its URL, with the password.
    pub fn url(&self) -> String {
        self.url_through(self.address)
    }

    /// Its URL by way of a proxy.
    pub fn url_through(&self, proxy: SocketAddr) -> String {
        format!("redis://:{}@{proxy}", self.password)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The password, which must not turn up in any log.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// A logged-in connection, to be spoken to in Redis's own protocol.
    pub async fn connect(&self) -> tokio::net::TcpStream {
        self.connect_through(self.address).await
    }

    /// As [`Redis::connect`], by way of a proxy.
    pub async fn connect_through(&self, proxy: SocketAddr) -> tokio::net::TcpStream {
        let mut stream = tokio::net::TcpStream::connect(proxy).await.expect("Redis accepts connections");
        stream.write_all(format!("AUTH {}\r\n", self.password).as_bytes()).await.expect("Redis reads");
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await.expect("Redis answers");
        assert_eq!(&answer, b"+OK\r\n");
        stream
    }

    /// Publishes messages as anybody can who reaches this Redis, all at once.
    pub async fn publish(&self, messages: &[(&str, &[u8])]) {
        let mut stream = self.connect().await;
        let mut commands = vec![];
        for (channel, payload) in messages {
            commands.extend(format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n", channel.len()).as_bytes());
            commands.extend(format!("${}\r\n", payload.len()).as_bytes());
            commands.extend(*payload);
            commands.extend(b"\r\n");
        }
        commands.extend(b"QUIT\r\n");
        stream.write_all(&commands).await.expect("Redis reads");
        stream.read_to_end(&mut vec![]).await.expect("Redis answers");
    }

    /// How many connections subscribe to something.
    pub async fn subscribers(&self) -> usize {
        let mut stream = self.connect().await;
        stream.write_all(b"CLIENT LIST TYPE pubsub\r\nQUIT\r\n").await.expect("Redis reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("Redis answers");
        answer.matches("addr=").count() - answer.matches("laddr=").count()
    }

    /// Kills it; connections are refused until [`Redis::start_again`].
    pub fn kill(&mut self) {
        self.program = None;
    }

    /// Starts it again on the same port, empty.
    pub async fn start_again(&mut self) {
        assert!(self.program.is_none(), "Redis still runs");
        let folder = self.folder.path().to_owned();
        let program = tokio::task::spawn_blocking(move || run(folder)).await.expect("Redis starts");
        let (address, password) = (self.address, self.password.clone());
        let started = tokio::task::spawn_blocking(move || await_ready(program, address, &password));
        self.program = started.await.expect("Redis starts");
        assert!(self.program.is_some(), "somebody else took Redis's port {address}");
    }

    /// Stops it without ending it: connections stay open, and nothing is answered.
    pub fn pause(&self) {
        self.program.as_ref().expect("Redis runs").signal(Signal::SIGSTOP);
    }

    /// Lets it go on after [`Redis::pause`].
    pub fn resume(&self) {
        self.program.as_ref().expect("Redis runs").signal(Signal::SIGCONT);
    }

    fn start() -> Redis {
        // Somebody else may take the port between our look and Redis's start; then another one is tried.
        (0..10).find_map(|_| Redis::start_on(free_port())).expect("Redis starts on one of ten free ports")
    }

    fn start_on(port: u16) -> Option<Redis> {
        let folder = folder::fresh("redis");
        let password = Uuid::new_v4().simple().to_string();
        let settings = format!(
            "bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave \"\"\nappendonly no\ndir {}\n",
            folder.path().display()
        );
        // In a file, since anyone can read the arguments of a process.
        folder::write_private(&folder.path().join("redis.conf"), &settings);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let program = await_ready(run(folder.path().to_owned()), address, &password)?;
        Some(Redis { program: Some(program), folder, address, password })
    }
}

fn run(folder: PathBuf) -> Guarded {
    let program = Program {
        path: binary(),
        arguments: vec![folder.join("redis.conf").display().to_string()],
        environment: vec![],
        log: folder.join("redis.log"),
        folder,
        end: Signal::SIGKILL,
        user: None,
    };
    program.start()
}

/// Waits until our own Redis answers; `None` if it ended, as it does when the port is taken.
fn await_ready(mut program: Guarded, address: SocketAddr, password: &str) -> Option<Guarded> {
    let ready = eventually_blocking("Redis to answer", || match program.ended() {
        Some(_) => Some(false),
        None => ping(address, password).is_ok_and(|answer| answer == *b"+OK\r\n+PONG\r\n").then_some(true),
    });
    ready.then_some(program)
}

fn ping(address: SocketAddr, password: &str) -> std::io::Result<[u8; 12]> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(format!("AUTH {password}\r\nPING\r\n").as_bytes())?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// A port that nobody is given who asks the system for any: a killed Redis must find it free.
fn free_port() -> u16 {
    let any = || PORTS.start + (Uuid::new_v4().as_u128() % PORTS.len() as u128) as u16;
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    std::iter::repeat_with(any).take(100).find(free).expect("one of a hundred loopback ports is free")
}

fn binary() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("redis-server"))
        .find(|binary| binary.is_file())
        .expect("the tests need Redis (redis-server): install the package `redis-server`")
}
