//! A stream that ends by the server says so first, and by then every request is answered or not recorded.

use std::time::Duration;

use eventflow::proto::v1::closing::Reason;
use tonic::Code;

use super::{Pipe, head, offsets, on, reason, to, with_topics};
use crate::{
    client::{Client, assert_refused, event},
    harness::{
        backend::{Backend, on_both_stores},
        patience::eventually_within,
        place::Place,
        server::Server,
    },
};

/// Sends until the stream has ended, while its answers are read.
async fn send_until_it_ends(pipe: &Pipe) {
    let requests = pipe.requests.clone().expect("open");
    tokio::spawn(async move {
        for sequence in 1.. {
            let publish = Some(to("orders", vec![event(&sequence.to_string())]));
            if requests.send(eventflow::proto::v1::PublishStreamRequest { sequence, publish }).await.is_err() {
                return;
            }
        }
    });
}

/// Reads to the end; every answer is an offset, one after the other. Returns how many there were.
async fn until_closed(pipe: &mut Pipe, reason: Reason, code: Code, word: &str) -> i64 {
    let (answers, closing, end) = pipe.rest().await;
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!((answer.0, offsets(answer)), (n as i64 + 1, vec![n as i64 + 1]));
    }
    assert_eq!(closing, Some(reason));
    assert_refused(&end.unwrap_err(), code, word);
    answers.len() as i64
}

on_both_stores! {
    async fn a_draining_server_answers_what_it_took_and_records_nothing_else(backend: Backend) {
        let (mut server, admin) = on(backend, &["orders"]).await;
        let mut pipe = Pipe::open(&admin.on(&server).await).await.unwrap();
        send_until_it_ends(&pipe).await;
        assert_eq!(pipe.answers(500).await.len(), 500);
        let reading = async {
            let (answers, closing, end) = pipe.rest().await;
            assert!(answers.iter().map(|answer| answer.0).eq(501..=500 + answers.len() as i64));
            assert!(answers.iter().map(|answer| offsets(answer)[0]).eq(501..=500 + answers.len() as i64));
            assert_eq!(closing, Some(Reason::Draining), "{end:?}");
            assert_refused(&end.unwrap_err(), Code::Unavailable, "DRAINING");
            500 + answers.len() as i64
        };
        let (code, answered) = tokio::join!(server.terminate(), reading);
        assert_eq!(code, 0);
        server.restart().await;
        let admin = admin.on(&server).await;
        println!("{backend:?}: {answered} requests were answered before the end");
        assert_eq!(head(&admin, "orders").await, answered, "requests without an answer were recorded, or others lost");
    }

    async fn an_idle_stream_is_told_of_a_drain_at_once(backend: Backend) {
        let (mut server, admin) = on(backend, &["orders"]).await;
        let mut pipe = Pipe::open(&admin).await.unwrap();
        let reading = until_closed(&mut pipe, Reason::Draining, Code::Unavailable, "DRAINING");
        let begun = std::time::Instant::now();
        let (code, answered) = tokio::join!(server.terminate(), reading);
        assert_eq!((code, answered), (0, 0));
        assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
    }

    async fn an_old_stream_is_asked_to_begin_anew(backend: Backend) {
        let start = backend.server().await.flag("--stream-max-age", "1s");
        let (_server, admin) = with_topics(start, &["orders"]).await;
        let mut pipe = Pipe::open(&admin).await.unwrap();
        send_until_it_ends(&pipe).await;
        let answered = until_closed(&mut pipe, Reason::MaxAge, Code::Unavailable, "STREAM_ROTATED").await;
        assert!(answered > 0);
        assert_eq!(head(&admin, "orders").await, answered, "requests without an answer were recorded");
    }

    async fn a_stream_ends_with_its_token(backend: Backend) {
        let start = backend.server().await.flag("--token-ttl", "2s");
        let (_server, admin) = with_topics(start, &["orders"]).await;
        let mut pipe = Pipe::open(&admin).await.unwrap();
        pipe.send(1, to("orders", vec![event("x")])).await;
        let answered = until_closed(&mut pipe, Reason::CredentialEnded, Code::Unauthenticated, "CREDENTIAL_EXPIRED").await;
        assert_eq!(answered, 1);
    }
}

/// A server whose store can be changed, its admin, and a producer's client.
async fn with_producer(backend: Backend) -> (Server, Place, Client, Client) {
    let (start, place) = Place::of(backend).await;
    let (server, admin) = with_topics(start, &["orders", "letters"]).await;
    let shop = admin.producer("shop", &["orders"]).await;
    (server, place, admin, shop)
}

/// What a change is to bring about within 5 s, with room for a slow machine.
const BITES: Duration = Duration::from_secs(8);

/// Publishes one event to a topic until that is answered with this reason.
async fn until_answered(pipe: &mut Pipe, topic: &str, wanted: &str) {
    let said = async || {
        pipe.send(1, to(topic, vec![event("x")])).await;
        (reason(&pipe.answer().await) == wanted).then_some(())
    };
    eventually_within(BITES, wanted, said).await;
}

on_both_stores! {
    async fn changed_topics_of_a_producer_bite_on_an_open_stream(backend: Backend) {
        let (_server, place, admin, shop) = with_producer(backend).await;
        let mut pipe = Pipe::open(&shop).await.unwrap();
        until_answered(&mut pipe, "orders", "-").await;
        let (sqlite, postgres) = (
            "update producers set topics = '[\"letters\"]'", "update eventflow.producers set topics = '{letters}'",
        );
        place.change(sqlite, postgres).await;
        until_answered(&mut pipe, "orders", "PERMISSION_DENIED").await;
        let recorded = head(&admin, "orders").await;
        until_answered(&mut pipe, "letters", "-").await;
        until_answered(&mut pipe, "orders", "PERMISSION_DENIED").await;
        assert_eq!(head(&admin, "orders").await, recorded);
    }

    async fn a_disabled_producer_is_refused_on_an_open_stream_until_it_is_enabled(backend: Backend) {
        let (_server, place, admin, shop) = with_producer(backend).await;
        let mut pipe = Pipe::open(&shop).await.unwrap();
        until_answered(&mut pipe, "orders", "-").await;
        place.change("update producers set disabled = 1", "update eventflow.producers set disabled = true").await;
        until_answered(&mut pipe, "orders", "PRODUCER_DISABLED").await;
        let recorded = head(&admin, "orders").await;
        pipe.send(2, to("orders", vec![event("x")])).await;
        let (_, refusal) = pipe.answer().await;
        assert_refused(&refusal.unwrap_err(), Code::FailedPrecondition, "PRODUCER_DISABLED");
        assert_eq!(head(&admin, "orders").await, recorded);
        place.change("update producers set disabled = 0", "update eventflow.producers set disabled = false").await;
        until_answered(&mut pipe, "orders", "-").await;
    }

    async fn a_stream_ends_when_its_key_is_revoked_whether_it_is_used_or_not(backend: Backend) {
        let (_server, place, admin, shop) = with_producer(backend).await;
        let (mut idle, mut busy) = (Pipe::open(&shop).await.unwrap(), Pipe::open(&shop).await.unwrap());
        send_until_it_ends(&busy).await;
        let (sqlite, postgres) = (
            "update api_keys set revoked = 1 where owner = 'shop'",
            "update eventflow.api_keys set revoked = true where owner_name = 'shop'",
        );
        place.change(sqlite, postgres).await;
        let ended = async {
            tokio::join!(
                until_closed(&mut idle, Reason::CredentialEnded, Code::Unauthenticated, "CREDENTIAL_REVOKED"),
                until_closed(&mut busy, Reason::CredentialEnded, Code::Unauthenticated, "CREDENTIAL_REVOKED"),
            )
        };
        // Two ages of what is remembered: the idle stream may ask just before the one that begins with the change.
        let (none, answered) = tokio::time::timeout(BITES + BITES, ended).await.expect("both end in time");
        assert_eq!((none, head(&admin, "orders").await), (0, answered));
    }
}
