//! A stream that takes a consumer from the one that has it.

use std::time::Instant;

use eventflow::proto::v1::closing::Reason;
use tonic::Code;

use super::{AT_ONCE, billing, commit, ends, lively, offsets, open, orders, register, status, stored, taking_over};
use crate::{
    client::assert_refused,
    harness::backend::{Backend, on_both_stores},
};

on_both_stores! {
    async fn a_takeover_ends_the_first_stream_and_fences_its_commits(backend: Backend) {
        let (_server, client) = orders(backend, 5).await;
        register(&client, billing()).await.unwrap();
        let (mut first, old_epoch, _) = open(&client, lively()).await;
        first.events(5).await;
        commit(&client, "billing", old_epoch, 2).await.unwrap();

        let began = Instant::now();
        let (mut second, epoch, position) = open(&client, taking_over()).await;
        assert!(epoch > old_epoch, "epoch {epoch} after {old_epoch}");
        assert_eq!(position, 2);
        ends(&mut first, Reason::TakenOver, Code::Aborted, "CONSUMER_FENCED").await;
        // Before any hold could have run out.
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());

        let refusal = commit(&client, "billing", old_epoch, 5).await.unwrap_err();
        assert_refused(&refusal, Code::Aborted, "CONSUMER_FENCED");
        assert_eq!(stored(&client, "billing").await, 2);
        assert_eq!(offsets(&second.events(3).await), [3, 4, 5]);
        assert_eq!(commit(&client, "billing", epoch, 5).await.unwrap(), 5);
        let now = status(&client, "billing").await;
        assert_eq!((now.epoch, now.connection_count), (epoch, 1), "the end of the first stream frees nothing");
    }

    async fn a_chain_of_takeovers_leaves_the_last_stream_alone(backend: Backend) {
        let (_server, client) = orders(backend, 1).await;
        register(&client, billing()).await.unwrap();
        let mut streams = Vec::new();
        for _ in 0..10 {
            streams.push(open(&client, taking_over()).await);
        }
        let (mut last, epoch, _) = streams.pop().unwrap();
        for (stream, older, _) in &mut streams {
            assert!(*older < epoch);
            ends(stream, Reason::TakenOver, Code::Aborted, "CONSUMER_FENCED").await;
        }
        assert_eq!(last.events(1).await.len(), 1);
        assert_eq!(commit(&client, "billing", epoch, 1).await.unwrap(), 1);
        assert_refused(&client.subscribe(lively()).await.unwrap_err(), Code::FailedPrecondition, "CONSUMER_BUSY");
    }

    async fn a_free_consumer_can_be_taken_over_too(backend: Backend) {
        let (_server, client) = orders(backend, 1).await;
        register(&client, billing()).await.unwrap();
        let (mut stream, ..) = open(&client, taking_over()).await;
        assert_eq!(stream.events(1).await.len(), 1);
    }
}
