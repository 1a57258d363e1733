//! Connections whose other end has gone without a word.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    client::Client,
    harness::{patience::eventually, server::Server},
    observe::Metrics,
};

/// After this silence a ping comes …
const INTERVAL: Duration = Duration::from_secs(30);
/// … which must be answered within this time.
const TIMEOUT: Duration = Duration::from_secs(20);
/// A timer of the server may begin a little before one of the test.
const EARLY: Duration = Duration::from_secs(1);
/// For a slow machine.
const LATE: Duration = Duration::from_secs(15);

/// The next frame's type and flags; `None` when the connection is closed.
async fn frame(stream: &mut TcpStream) -> Option<(u8, u8)> {
    let mut header = [0; 9];
    stream.read_exact(&mut header).await.ok()?;
    let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
    stream.read_exact(&mut vec![0; length as usize]).await.ok()?;
    Some((header[3], header[4]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_leaves_a_ping_unanswered_is_closed_and_one_that_answers_stays() {
    const PING: (u8, u8) = (6, 0);
    let server = Server::embedded().start().await;
    let client = Client::admin(&server).await;
    let mut silent = TcpStream::connect(server.listen()).await.unwrap();
    let begun = Instant::now();
    // The greeting, and no settings in particular.
    silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let (mut pinged, deadline) = (None, INTERVAL + TIMEOUT + 2 * LATE);
    let reading = async {
        while let Some(frame) = frame(&mut silent).await {
            if frame == PING {
                assert_eq!(pinged.replace(begun.elapsed()), None, "a second ping");
            }
        }
    };
    timeout(deadline, reading).await.expect("the server closes a connection that does not answer");
    let (closed, pinged) = (begun.elapsed(), pinged.expect("a ping before the end"));
    assert!((INTERVAL - EARLY..INTERVAL + LATE).contains(&pinged), "a ping after {pinged:?}");
    let patience = closed - pinged;
    assert!((TIMEOUT - EARLY..TIMEOUT + LATE).contains(&patience), "closed {patience:?} after the ping");

    eventually("the silent one to be forgotten", async || {
        (Metrics::of(&server).await.get("eventflow_connections") == 1).then_some(())
    })
    .await;
    client.create_topic("orders").await;
}
