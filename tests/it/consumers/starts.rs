//! Where a new consumer begins.

use eventflow::proto::v1::{self, consumer::Start};
use tonic::{Code, Status};

use super::{billing, lively, offsets, open, orders, register};
use crate::{
    client::{Client, assert_refused, event},
    harness::backend::{Backend, on_both_stores},
};

/// Registers a consumer with this start and returns its stored offset.
async fn begin(client: &Client, name: &str, start: Start) -> Result<i64, Status> {
    let consumer = v1::Consumer { name: name.into(), start: Some(start), ..billing() };
    Ok(register(client, consumer).await?.status.unwrap().position.unwrap().offset)
}

on_both_stores! {
    async fn a_start_without_a_number_is_resolved_when_the_consumer_is_registered(backend: Backend) {
        let (_server, client) = orders(backend, 3).await;
        let at = |at: v1::StartAt| Start::StartAt(at.into());
        assert_eq!(begin(&client, "unspecified", at(v1::StartAt::Unspecified)).await.unwrap(), 0);
        assert_eq!(begin(&client, "earliest", at(v1::StartAt::Earliest)).await.unwrap(), 0);
        assert_eq!(begin(&client, "billing", at(v1::StartAt::Head)).await.unwrap(), 3);

        client.publish_numbered("orders", 4, 2).await;
        let (mut stream, _, position) = open(&client, lively()).await;
        assert_eq!(position, 3, "what was recorded since it was registered waits for it");
        assert_eq!(offsets(&stream.events(2).await), [4, 5]);
    }

    async fn a_consumer_may_begin_after_any_offset_up_to_the_head(backend: Backend) {
        let (_server, client) = orders(backend, 3).await;
        for offset in 0..=3 {
            let name = format!("after-{offset}");
            assert_eq!(begin(&client, &name, Start::AfterOffset(offset)).await.unwrap(), offset);
        }
        let refusal = begin(&client, "billing", Start::AfterOffset(4)).await.unwrap_err();
        assert_refused(&refusal, Code::OutOfRange, "OFFSET_BEYOND_HEAD");
    }

    async fn a_consumer_may_begin_at_a_time(backend: Backend) {
        let (_server, client) = orders(backend, 3).await;
        let time = client.publish("orders", vec![event("a")]).await.unwrap()[0].recorded_time.unwrap();
        let later = prost_types::Timestamp { seconds: time.seconds + 3600, ..time };
        let long_ago = prost_types::Timestamp { seconds: 1, nanos: 0 };
        assert_eq!(begin(&client, "then", Start::StartTime(time)).await.unwrap(), 3);
        assert_eq!(begin(&client, "long-ago", Start::StartTime(long_ago)).await.unwrap(), 0);
        assert_eq!(begin(&client, "later", Start::StartTime(later)).await.unwrap(), 4);
    }

    async fn a_consumer_cannot_begin_before_what_is_kept(backend: Backend) {
        let (_server, client) = orders(backend, 3).await;
        client.publish_numbered("orders", 4, 7).await;
        let trim = v1::TrimTopicRequest { name: "orders".into(), before_offset: 4, validate_only: false };
        client.topics().trim_topic(trim).await.unwrap();

        let refusal = begin(&client, "billing", Start::AfterOffset(2)).await.unwrap_err();
        assert_refused(&refusal, Code::OutOfRange, "OFFSET_TRIMMED");
        assert_eq!(begin(&client, "after", Start::AfterOffset(3)).await.unwrap(), 3);
        let earliest = Start::StartAt(v1::StartAt::Earliest.into());
        assert_eq!(begin(&client, "earliest", earliest).await.unwrap(), 3);
        let long_ago = Start::StartTime(prost_types::Timestamp { seconds: 1, nanos: 0 });
        assert_eq!(begin(&client, "long-ago", long_ago).await.unwrap(), 3);
    }
}
