//! A hold is renewed for as long as its stream is open; these tests take longer than a hold lasts.

use std::time::{Duration, Instant};

use eventflow::proto::v1::subscribe_response::Frame;
use tonic::Code;

use super::{billing, commit, lively, open, orders, register, status, waiting};
use crate::{
    client::{as_consumer, assert_refused},
    harness::backend::{Backend, on_both_stores},
};

/// Longer than a hold lasts that is not renewed.
const LONGER: Duration = Duration::from_secs(20);

on_both_stores! {
    async fn a_stream_keeps_its_consumer_for_longer_than_a_hold_lasts(backend: Backend) {
        let (_server, client) = orders(backend, 1).await;
        register(&client, billing()).await.unwrap();
        let (mut holder, epoch, _) = open(&client, lively()).await;
        let mut waiter = client.subscribe(waiting()).await.unwrap();
        let began = Instant::now();
        let waits = async {
            while began.elapsed() < LONGER {
                let Frame::Heartbeat(heartbeat) = waiter.frame().await else { panic!("it got the consumer") };
                assert!(heartbeat.waiting);
            }
        };
        let holds = async {
            while began.elapsed() < LONGER {
                assert!(!matches!(holder.frame().await, Frame::Closing(_) | Frame::Started(_)));
            }
        };
        tokio::join!(waits, holds);

        let refusal = client.subscribe(as_consumer("billing")).await.unwrap_err();
        assert_refused(&refusal, Code::FailedPrecondition, "CONSUMER_BUSY");
        let now = status(&client, "billing").await;
        assert_eq!((now.epoch, now.connection_count), (epoch, 1));
        client.publish_numbered("orders", 2, 1).await;
        assert_eq!(holder.events(1).await[0].offset, 2);
        assert_eq!(commit(&client, "billing", epoch, 2).await.unwrap(), 2);
    }
}
