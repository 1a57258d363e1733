//! Streams of a consumer begin at its stored offset, and commits move it.

use eventflow::proto::v1::{self, subscribe_request::Start};
use tonic::Code;

use super::{AT_ONCE, billing, commit, lively, offsets, open, orders, register, status, stored, taking_over};
use crate::{
    client::{assert_refused, event, from_earliest, violations},
    harness::{
        backend::{Backend, on_both_stores},
        patience::eventually_within,
    },
};

on_both_stores! {
    async fn a_stream_begins_after_the_last_commit_of_the_one_before(backend: Backend) {
        let (_server, client) = orders(backend, 5).await;
        register(&client, billing()).await.unwrap();
        let (mut first, epoch, position) = open(&client, lively()).await;
        assert_eq!(position, 0);
        assert_eq!(offsets(&first.events(5).await), [1, 2, 3, 4, 5]);
        assert_eq!(commit(&client, "billing", epoch, 3).await.unwrap(), 3);
        drop(first);

        let (mut second, next_epoch, position) = eventually_within(AT_ONCE, "the consumer to be free", async || {
            let mut stream = client.subscribe(lively()).await.ok()?;
            let started = stream.started().await;
            Some((stream, started.epoch, started.position?.offset))
        }).await;
        assert_eq!(position, 3, "what was sent and not committed comes again");
        assert!(next_epoch > epoch);
        assert_eq!(offsets(&second.events(2).await), [4, 5]);
        client.publish_numbered("orders", 6, 1).await;
        assert_eq!(offsets(&second.events(1).await), [6]);
        assert_eq!(commit(&client, "billing", next_epoch, 6).await.unwrap(), 6);
    }

    async fn a_stored_offset_survives_a_restart_and_so_does_its_epoch(backend: Backend) {
        let (mut server, client) = orders(backend, 5).await;
        register(&client, billing()).await.unwrap();
        let (stream, epoch, _) = open(&client, lively()).await;
        commit(&client, "billing", epoch, 3).await.unwrap();
        drop(stream);
        eventually_within(AT_ONCE, "the consumer to be free", async || {
            (status(&client, "billing").await.connection_count == 0).then_some(())
        }).await;
        server.restart().await;
        let client = client.on(&server).await;
        assert_eq!(stored(&client, "billing").await, 3);
        assert_eq!(commit(&client, "billing", epoch, 4).await.unwrap(), 4, "nobody took the consumer since");
        let (_stream, next_epoch, position) = open(&client, lively()).await;
        assert_eq!(position, 4);
        assert!(next_epoch > epoch, "epoch {next_epoch} after {epoch}");
    }

    async fn a_consumer_that_did_all_it_was_sent_shows_no_lag_over_what_its_filter_left_out(backend: Backend) {
        let (_server, client) = orders(backend, 5).await;
        let filter = Some(v1::Filter { keys: vec!["mine".into()], ..Default::default() });
        register(&client, v1::Consumer { filter, ..billing() }).await.unwrap();
        let mine = || v1::NewEvent { key: "mine".into(), ..event("mine") };
        client.publish("orders", vec![mine(), mine()]).await.unwrap();
        client.publish_numbered("orders", 8, 3).await;
        let (mut stream, epoch, _) = open(&client, lively()).await;
        assert_eq!(offsets(&stream.until_caught_up().await), [6, 7]);
        assert_eq!(commit(&client, "billing", epoch, 6).await.unwrap(), 6, "event 7 is not done");
        assert_eq!(commit(&client, "billing", epoch, 7).await.unwrap(), 10);
        client.publish_numbered("orders", 11, 3).await;
        eventually_within(2 * AT_ONCE, "no lag", async || {
            (status(&client, "billing").await.lag_events == Some(0)).then_some(())
        }).await;
        client.publish("orders", vec![mine()]).await.unwrap();
        assert_eq!(offsets(&stream.events(1).await), [14]);
        assert_eq!(stored(&client, "billing").await, 13, "event 14 is not done");
    }

    async fn a_commit_never_moves_the_stored_offset_back(backend: Backend) {
        let (_server, client) = orders(backend, 5).await;
        register(&client, billing()).await.unwrap();
        let (_stream, epoch, _) = open(&client, lively()).await;
        assert_eq!(commit(&client, "billing", epoch, 4).await.unwrap(), 4);
        for offset in [4, 2, 0] {
            assert_eq!(commit(&client, "billing", epoch, offset).await.unwrap(), 4, "after committing {offset}");
        }
        assert_eq!(stored(&client, "billing").await, 4);
    }

    async fn commits_that_are_refused_change_nothing(backend: Backend) {
        let (_server, client) = orders(backend, 5).await;
        register(&client, billing()).await.unwrap();
        let (old, old_epoch, _) = open(&client, lively()).await;
        drop(old);
        let (_stream, epoch, _) = open(&client, taking_over()).await;
        commit(&client, "billing", epoch, 2).await.unwrap();

        let refused = async |epoch, offset| commit(&client, "billing", epoch, offset).await.unwrap_err();
        assert_refused(&refused(epoch, 6).await, Code::OutOfRange, "OFFSET_BEYOND_HEAD");
        assert_refused(&refused(old_epoch, 4).await, Code::Aborted, "CONSUMER_FENCED");
        assert_refused(&refused(old_epoch, 1).await, Code::Aborted, "CONSUMER_FENCED");
        assert_refused(&refused(epoch + 1, 4).await, Code::Aborted, "CONSUMER_FENCED");
        for bad in [0, -1] {
            let refusal = refused(bad, 4).await;
            assert_refused(&refusal, Code::InvalidArgument, "REQUEST_INVALID");
            assert_eq!(violations(&refusal), ["epoch"]);
        }
        let refusal = refused(epoch, -1).await;
        assert_refused(&refusal, Code::InvalidArgument, "REQUEST_INVALID");
        assert_eq!(violations(&refusal), ["offset"]);
        let nobody = commit(&client, "nobody", epoch, 1).await.unwrap_err();
        assert_refused(&nobody, Code::NotFound, "CONSUMER_NOT_FOUND");
        assert_eq!(stored(&client, "billing").await, 2);
    }

    async fn the_consumers_own_filter_selects_and_the_request_cannot_widen_it(backend: Backend) {
        let (_server, client) = orders(backend, 0).await;
        let keyed = |key: &str| v1::NewEvent { key: key.into(), ..event(key) };
        client.publish("orders", vec![keyed("a"), keyed("b"), keyed("a"), keyed("c")]).await.unwrap();
        let filter = |key: &str| Some(v1::Filter { keys: vec![key.into()], ..Default::default() });
        register(&client, v1::Consumer { filter: filter("a"), ..billing() }).await.unwrap();

        let wider = client.subscribe(v1::SubscribeRequest { filter: filter("b"), ..lively() }).await.unwrap_err();
        assert_refused(&wider, Code::InvalidArgument, "FILTER_INVALID");
        let (mut stream, ..) = open(&client, lively()).await;
        assert_eq!(offsets(&stream.events(2).await), [1, 3]);
        client.publish("orders", vec![keyed("b"), keyed("a")]).await.unwrap();
        assert_eq!(offsets(&stream.events(1).await), [6]);
    }

    async fn a_consumers_stream_may_end_at_the_head(backend: Backend) {
        let (_server, client) = orders(backend, 5).await;
        register(&client, billing()).await.unwrap();
        let bounded = v1::SubscribeRequest { stop_at: v1::StopAt::Head.into(), ..lively() };
        let (mut stream, epoch, _) = open(&client, bounded.clone()).await;
        client.publish_numbered("orders", 6, 1).await;
        let (events, end) = stream.rest().await;
        end.unwrap();
        assert_eq!(offsets(&events), [1, 2, 3, 4, 5]);
        commit(&client, "billing", epoch, 6).await.unwrap();

        // The end was well, so the consumer is free at once.
        let (mut stream, _, position) = eventually_within(AT_ONCE, "the consumer to be free", async || {
            let mut stream = client.subscribe(bounded.clone()).await.ok()?;
            let started = stream.started().await;
            Some((stream, started.epoch, started.position?.offset))
        }).await;
        assert_eq!(position, 6);
        let (events, end) = stream.rest().await;
        end.unwrap();
        assert!(events.is_empty(), "{events:?}");
    }

    async fn a_consumers_stream_has_no_start_of_its_own(backend: Backend) {
        let (_server, client) = orders(backend, 5).await;
        register(&client, billing()).await.unwrap();
        for start in [Start::AfterOffset(3), Start::StartAt(v1::StartAt::Head.into())] {
            let request = v1::SubscribeRequest { start: Some(start), ..lively() };
            let refusal = client.subscribe(request).await.unwrap_err();
            assert_refused(&refusal, Code::InvalidArgument, "START_INVALID");
        }
        let (_stream, _, position) = open(&client, lively()).await;
        assert_eq!(position, 0, "a refused request takes no hold");
    }

    async fn a_consumer_and_a_plain_reader_do_not_disturb_each_other(backend: Backend) {
        let (_server, client) = orders(backend, 2).await;
        register(&client, billing()).await.unwrap();
        let (mut consumer, epoch, _) = open(&client, lively()).await;
        let mut plain = client.subscribe(from_earliest("orders")).await.unwrap();
        assert_eq!(plain.started().await.epoch, 0);
        commit(&client, "billing", epoch, 2).await.unwrap();
        client.publish_numbered("orders", 3, 1).await;
        assert_eq!(offsets(&consumer.events(3).await), [1, 2, 3]);
        assert_eq!(offsets(&plain.events(3).await), [1, 2, 3]);
    }

    async fn a_consumer_whose_events_were_trimmed_is_told(backend: Backend) {
        let (_server, client) = orders(backend, 3).await;
        client.publish_numbered("orders", 4, 2).await;
        register(&client, billing()).await.unwrap();
        let trim = v1::TrimTopicRequest { name: "orders".into(), before_offset: 4, validate_only: false };
        client.topics().trim_topic(trim).await.unwrap();
        assert_refused(&client.subscribe(lively()).await.unwrap_err(), Code::OutOfRange, "OFFSET_TRIMMED");

        let request = v1::SubscribeRequest { skip_trimmed: true, ..lively() };
        let mut stream = eventually_within(AT_ONCE, "the refused stream to leave the consumer", async || {
            client.subscribe(request.clone()).await.ok()
        }).await;
        stream.started().await;
        let v1::subscribe_response::Frame::Skipped(skipped) = stream.frame().await else { panic!("nothing was skipped") };
        assert_eq!((skipped.from_offset, skipped.to_offset), (1, 3));
        assert_eq!(offsets(&stream.events(2).await), [4, 5]);
    }
}
