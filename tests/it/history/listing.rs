//! `ListEvents`: what is in a page, and where pages are cut.

use eventflow::proto::v1;
use prost::Message;
use tonic::Code;

use super::{all, listed, page, pages, trim};
use crate::{
    client::{Client, assert_refused, event, violations},
    harness::{
        backend::{Backend, on_both_stores},
        server::Server,
    },
};

async fn with_events(backend: Backend, batches: &[usize]) -> (Server, Client) {
    let server = backend.server().await.start().await;
    let admin = Client::admin(&server).await;
    admin.create_topic("orders").await;
    let mut next = 1;
    for &count in batches {
        admin.publish_numbered("orders", next, count).await;
        next += count;
    }
    (server, admin)
}

fn newest_first(request: v1::ListEventsRequest) -> v1::ListEventsRequest {
    v1::ListEventsRequest { newest_first: true, ..request }
}

fn sized(page_size: i32) -> v1::ListEventsRequest {
    v1::ListEventsRequest { page_size, ..all() }
}

fn sizes(pages: &[Vec<v1::Event>]) -> Vec<usize> {
    pages.iter().map(Vec::len).collect()
}

on_both_stores! {
    async fn pages_make_up_the_topic_in_both_directions(backend: Backend) {
        let (_server, admin) = with_events(backend, &[1, 300, 7, 90, 1, 1, 100]).await;
        let forward: Vec<i64> = (1..=500).collect();
        for page_size in [0, 1, 7, 499, 500, 501, 1000] {
            assert_eq!(listed(&admin, &sized(page_size)).await, forward, "pages of {page_size}");
            let mut back = listed(&admin, &newest_first(sized(page_size))).await;
            back.reverse();
            assert_eq!(back, forward, "pages of {page_size} backwards");
        }
    }

    async fn a_page_has_50_events_unless_told_and_1000_at_most(backend: Backend) {
        let (_server, admin) = with_events(backend, &[1000, 1000]).await;
        for request in [sized(0), newest_first(sized(0))] {
            assert_eq!(page(&admin, request).await.unwrap().events.len(), 50);
        }
        for request in [sized(1000), sized(1001), sized(i32::MAX), newest_first(sized(i32::MAX))] {
            assert_eq!(sizes(&pages(&admin, &request).await), [1000, 1000], "{request:?}");
        }
        assert_eq!(sizes(&pages(&admin, &sized(999)).await), [999, 999, 2]);
        let refusal = page(&admin, sized(-1)).await.unwrap_err();
        assert_refused(&refusal, Code::InvalidArgument, "REQUEST_INVALID");
        assert_eq!(violations(&refusal), ["page_size"]);
    }

    async fn offsets_bound_a_listing(backend: Backend) {
        let (_server, admin) = with_events(backend, &[10, 10]).await;
        let bounded = |after_offset, before_offset| v1::ListEventsRequest { after_offset, before_offset, page_size: 3, ..all() };
        for (after, before, wanted) in [
            (None, None, 1..21),
            (Some(0), None, 1..21),
            (Some(5), None, 6..21),
            (Some(20), None, 0..0),
            (Some(i64::MAX), None, 0..0),
            (None, Some(6), 1..6),
            (None, Some(1), 0..0),
            (None, Some(0), 0..0),
            (None, Some(i64::MAX), 1..21),
            (Some(5), Some(16), 6..16),
            (Some(5), Some(6), 0..0),
            (Some(5), Some(5), 0..0),
            (Some(15), Some(5), 0..0),
        ] {
            let wanted: Vec<i64> = wanted.collect();
            assert_eq!(listed(&admin, &bounded(after, before)).await, wanted, "after {after:?}, before {before:?}");
            let mut back = listed(&admin, &newest_first(bounded(after, before))).await;
            back.reverse();
            assert_eq!(back, wanted, "after {after:?}, before {before:?}, backwards");
        }
        for (request, field) in [(bounded(Some(-1), None), "after_offset"), (bounded(None, Some(-1)), "before_offset")] {
            let refusal = page(&admin, request).await.unwrap_err();
            assert_refused(&refusal, Code::InvalidArgument, "REQUEST_INVALID");
            assert_eq!(violations(&refusal), [field]);
        }
    }

    async fn times_bound_a_listing_by_when_events_were_recorded(backend: Backend) {
        let (_server, admin) = with_events(backend, &[2, 3, 1]).await;
        let events = pages(&admin, &sized(1000)).await.concat();
        let micros = |time: prost_types::Timestamp| time.seconds * 1_000_000 + i64::from(time.nanos) / 1000;
        let recorded: Vec<i64> = events.iter().map(|event| micros(event.recorded_time.unwrap())).collect();
        let near: Vec<i64> = recorded.iter().flat_map(|at| [at - 1, *at, at + 1]).collect();
        let time = |micros: i64| prost_types::Timestamp {
            seconds: micros.div_euclid(1_000_000), nanos: (micros.rem_euclid(1_000_000) * 1000) as i32,
        };
        for from in near.iter().copied().map(Some).chain([None]) {
            for to in near.iter().copied().map(Some).chain([None]) {
                let inside = |at: i64| from.is_none_or(|from| at >= from) && to.is_none_or(|to| at < to);
                let wanted: Vec<i64> = (1..=6).filter(|offset| inside(recorded[*offset as usize - 1])).collect();
                let request = v1::ListEventsRequest { from_time: from.map(time), to_time: to.map(time), page_size: 2, ..all() };
                assert_eq!(listed(&admin, &request).await, wanted, "{from:?} to {to:?} of {recorded:?}");
                let mut back = listed(&admin, &newest_first(request)).await;
                back.reverse();
                assert_eq!(back, wanted, "{from:?} to {to:?} of {recorded:?}, backwards");
            }
        }
    }

    async fn a_page_is_cut_at_3_mib(backend: Backend) {
        let (_server, admin) = with_events(backend, &[]).await;
        for n in 0..10 {
            let events = (0..4).map(|_| event(&"x".repeat(200_000))).chain([event(&n.to_string())]);
            admin.publish("orders", events.collect()).await.unwrap();
        }
        admin.publish("orders", vec![event(&"x".repeat(1 << 20)); 3]).await.unwrap();
        for request in [sized(1000), newest_first(sized(1000))] {
            let pages = pages(&admin, &request).await;
            let bytes = |page: &Vec<v1::Event>| v1::ListEventsResponse { events: page.clone(), ..Default::default() }.encoded_len();
            assert!(pages.iter().all(|page| bytes(page) <= 3 << 20), "{:?}", pages.iter().map(bytes).collect::<Vec<_>>());
            assert!(pages.len() <= 6, "{} pages for 11 MiB", pages.len());
            assert_eq!(pages.concat().len(), 53);
        }
    }

    async fn a_page_is_cut_after_50000_events_looked_at(backend: Backend) {
        let (_server, admin) = with_events(backend, &[]).await;
        let needle = |n: i64| v1::NewEvent { key: "needle".into(), ..event(&n.to_string()) };
        admin.publish("orders", vec![needle(1)]).await.unwrap();
        admin.publish_numbered("orders", 2, 60_000).await;
        admin.publish("orders", vec![needle(2)]).await.unwrap();
        let filter = Some(v1::Filter { keys: vec!["needle".into()], ..Default::default() });
        for (request, found) in [(all(), 1), (newest_first(all()), 60_002)] {
            let first = page(&admin, v1::ListEventsRequest { filter: filter.clone(), ..request.clone() }).await.unwrap();
            assert_eq!(first.events.iter().map(|event| event.offset).collect::<Vec<_>>(), [found]);
            assert_ne!(first.next_page_token, "");
            let offsets = listed(&admin, &v1::ListEventsRequest { filter: filter.clone(), ..request }).await;
            assert_eq!(offsets, [found, 60_003 - found]);
        }
        let nobody = v1::Filter { keys: vec!["nobody".into()], ..Default::default() };
        let pages = pages(&admin, &v1::ListEventsRequest { filter: Some(nobody), ..all() }).await;
        assert_eq!(sizes(&pages), [0, 0], "an empty page with a token, then the end");
    }

    async fn trimmed_events_are_not_listed_and_an_empty_topic_is_one_empty_page(backend: Backend) {
        let (_server, admin) = with_events(backend, &[]).await;
        for request in [all(), newest_first(all())] {
            assert_eq!(sizes(&pages(&admin, &request).await), [0]);
        }
        for n in 0..3 {
            admin.publish_numbered("orders", n * 5 + 1, 5).await;
        }
        trim(&admin, 6).await;
        assert_eq!(listed(&admin, &sized(4)).await, (6..=15).collect::<Vec<_>>());
        assert_eq!(listed(&admin, &newest_first(sized(4))).await, (6..=15).rev().collect::<Vec<_>>());
        trim(&admin, 16).await;
        for request in [all(), newest_first(all())] {
            assert_eq!(sizes(&pages(&admin, &request).await), [0]);
        }
    }

    async fn viewers_list_and_keys_of_producers_and_consumers_do_not(backend: Backend) {
        let (_server, admin) = with_events(backend, &[1]).await;
        let shop = admin.producer("shop", &["orders"]).await;
        let refusal = page(&shop, all()).await.unwrap_err();
        assert_refused(&refusal, Code::PermissionDenied, "PERMISSION_DENIED");
        let refusal = page(&admin, v1::ListEventsRequest { topic: "nowhere".into(), ..all() }).await.unwrap_err();
        assert_refused(&refusal, Code::NotFound, "TOPIC_NOT_FOUND");
        let filter = Some(v1::Filter { types: vec!["a*b".into()], ..Default::default() });
        let refusal = page(&admin, v1::ListEventsRequest { filter, ..all() }).await.unwrap_err();
        assert_refused(&refusal, Code::InvalidArgument, "FILTER_INVALID");
        assert_eq!(violations(&refusal), ["filter.types[0]"]);
        let time = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 });
        let refusal = page(&admin, v1::ListEventsRequest { from_time: time, to_time: time, ..all() }).await.unwrap_err();
        assert_refused(&refusal, Code::InvalidArgument, "REQUEST_INVALID");
        assert_eq!(violations(&refusal), ["from_time", "to_time"]);
    }
}
