//! Packing in the background: nobody notices, and it costs nothing where there is nothing to pack.

use eventflow::proto::v1::{self, new_event::Payload};
use sqlx::Connection;

use super::{large, packed_to, packing, publish_alone, sent, verify};
use crate::{
    client::{A_WHILE, Client, event},
    feed::everything,
    harness::{
        backend::{Backend, on_both_stores},
        databases::Database,
        patience::eventually,
        redis::Redis,
        server::Server,
    },
    observe::Metrics,
};

/// Events of every kind, in requests of their own: nothing of one is like the others.
fn kinds() -> Vec<Vec<v1::NewEvent>> {
    let timed = v1::NewEvent { time: Some(prost_types::Timestamp { seconds: 5, nanos: 7000 }), ..event("timed") };
    let full = v1::NewEvent {
        key: "k".into(),
        id: "given".into(),
        source: "/elsewhere".into(),
        content_type: "application/x".into(),
        attributes: [("a".to_owned(), "ä".to_owned()), ("b".to_owned(), String::new())].into(),
        correlation_id: "c".into(),
        causation_id: "d".into(),
        ..event("full")
    };
    let data = |bytes: &'static [u8]| v1::NewEvent { payload: Some(Payload::Data(bytes.into())), ..event("") };
    vec![
        vec![event("plain")],
        vec![timed.clone()],
        vec![full, event("beside it"), timed],
        vec![data(b"\xff\0\\"), data(b"")],
        vec![v1::NewEvent { payload: None, ..event("") }],
        vec![event("NULL"), event("")],
    ]
}

/// All pages of a topic's history.
async fn listed(client: &Client, newest_first: bool) -> Vec<v1::Event> {
    let (mut events, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListEventsRequest {
            topic: "orders".into(),
            newest_first,
            page_size: 3,
            page_token,
            ..Default::default()
        };
        let page = client.events().list_events(request).await.unwrap().into_inner();
        events.extend(page.events);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return events;
        }
    }
}

on_both_stores! {
    async fn readers_see_the_same_events_before_and_after(backend: Backend) {
        let start = backend.server().await.flag("--pack-after", "off");
        let mut server = start.start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        for events in kinds() {
            client.publish("orders", events).await.unwrap();
        }
        client.publish("orders", vec![large()]).await.unwrap();
        // From the store, not from memory.
        server.restart().await;
        let client = client.on(&server).await;
        let before = everything(&client, "orders").await;
        assert_eq!(before.len(), 11);
        assert_eq!(verify(&client, "orders").await.packed_offset, 0, "packing is off");

        server.restart_with("--pack-after", "100ms").await;
        let client = client.on(&server).await;
        let verified = packed_to(&client, "orders", 11).await;
        assert_eq!((verified.verified_offset, verified.head_offset, verified.verified_events), (11, 11, 11));
        server.restart().await;
        let client = client.on(&server).await;
        assert_eq!(everything(&client, "orders").await, before);
        assert_eq!(listed(&client, false).await, before);
        let mut backwards = listed(&client, true).await;
        backwards.reverse();
        assert_eq!(backwards, before);
        for event in &before {
            let by = Some(v1::get_event_request::By::Offset(event.offset));
            let get = v1::GetEventRequest { topic: "orders".into(), by, source: String::new() };
            assert_eq!(client.events().get_event(get).await.unwrap().into_inner().event.as_ref(), Some(event));
        }
        // An id is known for as long as its event is kept.
        let again = client.publish("orders", kinds()[2][..1].to_vec()).await.unwrap();
        assert!(again[0].duplicate && again[0].offset == 3, "{again:?}");
        assert_eq!(client.publish("orders", vec![event("next")]).await.unwrap()[0].offset, 12);
    }

    async fn packing_is_counted(backend: Backend) {
        let server = packing(backend.server().await).start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        publish_alone(&client, "orders", 9).await;
        packed_to(&client, "orders", 10).await;
        let metrics = Metrics::of(&server).await;
        assert_eq!(metrics.get("eventflow_linked_events_total"), 10);
        // In how many parts depends on how soon the first ones were packed.
        let links = metrics.get("eventflow_linked_segments_total");
        assert!((2..=10).contains(&links), "{links}");
        assert_eq!(metrics.get("eventflow_pack_duration_seconds_count"), links);
        assert!((1..=9).contains(&metrics.get("eventflow_packed_segments_total")));
        assert!(metrics.get("eventflow_verified_events_total") >= 10);
        assert_eq!(metrics.get("eventflow_altered_ranges_total"), 0);
    }

    async fn idle_topics_cost_one_statement_for_all(backend: Backend) {
        let server = packing(backend.server().await).start().await;
        let client = Client::admin(&server).await;
        for n in 0..150 {
            client.create_topic(&format!("idle-{n}")).await;
        }
        for topic in ["idle-0", "idle-149"] {
            publish_alone(&client, topic, 3).await;
            packed_to(&client, topic, 4).await;
        }
        let looks = async || (sent(&server, "unpacked_topics").await, sent(&server, "find_run").await);
        // A topic is asked for its next run once more after it was packed; the look after that begins when it has answered.
        let packed = looks().await;
        eventually("the next look", async || (looks().await.0 > packed.0).then_some(())).await;
        let before = looks().await;
        eventually("some looks", async || (looks().await.0 >= before.0 + 20).then_some(())).await;
        assert_eq!(looks().await.1, before.1, "idle topics were looked at one by one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packed_topic_is_few_rows() {
    let database = Database::fresh().await;
    let server = Server::cluster(&database, Redis::shared().await).flag("--pack-after", "2s").start().await;
    let client = Client::admin(&server).await;
    client.create_topic("orders").await;
    publish_alone(&client, "orders", 200).await;
    packed_to(&client, "orders", 201).await;
    let mut postgres = database.connect().await;
    let rows = "select count(*) from eventflow.segments where batch is null and recorded_times is not null";
    let packed: i64 = sqlx::query_scalar(rows).fetch_one(&mut postgres).await.unwrap();
    let all: i64 =
        sqlx::query_scalar("select count(*) from eventflow.segments").fetch_one(&mut postgres).await.unwrap();
    // How many there are depends on how soon the first ones were packed.
    assert!(packed >= 1 && all < 100, "{packed} of {all} rows are packed");
    let seen = "select count(*) from eventflow.read('orders', 0, 1000) where recorded_time is not null";
    assert_eq!(sqlx::query_scalar::<_, i64>(seen).fetch_one(&mut postgres).await.unwrap(), 201);
    postgres.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_servers_one_packs_and_the_other_takes_over() {
    let (database, redis) = (Database::fresh().await, Redis::shared().await);
    let start = || packing(Server::cluster(&database, redis));
    let mut servers = [start().start().await, start().start().await];
    let clients = [Client::admin(&servers[0]).await, Client::admin(&servers[0]).await.on(&servers[1]).await];
    clients[0].create_topic("orders").await;
    publish_alone(&clients[0], "orders", 20).await;
    packed_to(&clients[1], "orders", 21).await;
    let linked = async |server: &Server| Metrics::of(server).await.get("eventflow_linked_events_total");
    let counts = [linked(&servers[0]).await, linked(&servers[1]).await];
    assert!(counts == [21, 0] || counts == [0, 21], "{counts:?}");
    let busy = usize::from(counts[1] > 0);
    servers[busy].kill().await;
    publish_alone(&clients[1 - busy], "orders", 20).await;
    // Its lease has to run out first.
    let found = packed_to(&clients[1 - busy], "orders", 42).await;
    assert_eq!((found.verified_offset, found.verified_events), (42, 42));
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(linked(&servers[1 - busy]).await, 21);
}
