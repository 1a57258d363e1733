//! Deleting consumers.

use eventflow::proto::v1::closing::Reason;
use tonic::Code;

use super::{billing, commit, delete, ends, get, lively, open, orders, register, stored, waiting};
use crate::{
    client::assert_refused,
    harness::backend::{Backend, on_both_stores},
};

on_both_stores! {
    async fn a_deleted_consumer_ends_its_stream_and_is_gone(backend: Backend) {
        let (_server, client) = orders(backend, 3).await;
        register(&client, billing()).await.unwrap();
        let (mut stream, epoch, _) = open(&client, lively()).await;
        delete(&client, "billing").await.unwrap();
        ends(&mut stream, Reason::Deleted, Code::NotFound, "CONSUMER_NOT_FOUND").await;

        assert_refused(&get(&client, "billing").await.unwrap_err(), Code::NotFound, "CONSUMER_NOT_FOUND");
        let refusal = commit(&client, "billing", epoch, 1).await.unwrap_err();
        assert_refused(&refusal, Code::NotFound, "CONSUMER_NOT_FOUND");
        assert_refused(&delete(&client, "billing").await.unwrap_err(), Code::NotFound, "CONSUMER_NOT_FOUND");
        assert_refused(&client.subscribe(lively()).await.unwrap_err(), Code::NotFound, "CONSUMER_NOT_FOUND");
    }

    async fn a_stream_that_waits_for_a_consumer_ends_when_it_is_deleted(backend: Backend) {
        let (_server, client) = orders(backend, 3).await;
        register(&client, billing()).await.unwrap();
        let (_holder, ..) = open(&client, lively()).await;
        let mut waiter = client.subscribe(waiting()).await.unwrap();
        delete(&client, "billing").await.unwrap();
        let (events, end) = waiter.rest().await;
        assert!(events.is_empty());
        assert_refused(&end.unwrap_err(), Code::NotFound, "CONSUMER_NOT_FOUND");
    }

    async fn a_consumer_registered_anew_begins_anew_with_a_higher_epoch(backend: Backend) {
        let (_server, client) = orders(backend, 3).await;
        register(&client, billing()).await.unwrap();
        let (_old, old_epoch, _) = open(&client, lively()).await;
        commit(&client, "billing", old_epoch, 2).await.unwrap();
        delete(&client, "billing").await.unwrap();

        register(&client, billing()).await.unwrap();
        assert_eq!(stored(&client, "billing").await, 0);
        let (_new, epoch, position) = open(&client, lively()).await;
        assert_eq!(position, 0);
        assert!(epoch > old_epoch, "epoch {epoch} after {old_epoch}");
        let refusal = commit(&client, "billing", old_epoch, 3).await.unwrap_err();
        assert_refused(&refusal, Code::Aborted, "CONSUMER_FENCED");
        assert_eq!(stored(&client, "billing").await, 0, "the old consumer's epoch moves nothing of the new one");
    }
}
