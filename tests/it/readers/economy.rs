//! Publishing under load: fewer appends than requests.

use eventflow::proto::v1;

use crate::{
    client::{Client, event},
    harness::backend::{Backend, on_both_stores},
    observe::Metrics,
};

on_both_stores! {
    async fn requests_that_arrive_together_are_appended_together(backend: Backend) {
        const PUBLISHERS: usize = 32;
        const EACH: usize = 25;
        let server = backend.server().await.start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        let before = Metrics::of(&server).await;
        let publishers: Vec<_> = (0..PUBLISHERS).map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for n in 0..EACH {
                    client.publish("orders", vec![event(&n.to_string())]).await.unwrap();
                }
            })
        }).collect();
        for publisher in publishers {
            publisher.await.unwrap();
        }
        let after = Metrics::of(&server).await;
        let grown = |name| after.get(name) - before.get(name);
        let (requests, appends) = (grown("eventflow_publish_requests_total"), grown("eventflow_appends_total"));
        println!("{backend:?}: {requests} requests by {appends} appends");
        assert_eq!(requests, (PUBLISHERS * EACH) as u64);
        assert!(appends > 0 && appends < requests, "{appends} appends for {requests} requests");
        assert_eq!(grown("eventflow_published_events_total"), requests);
    }

    async fn what_is_refused_or_only_checked_or_known_is_not_counted_as_published(backend: Backend) {
        let server = backend.server().await.start().await;
        let client = Client::admin(&server).await;
        client.create_topic("orders").await;
        let named = || vec![v1::NewEvent { id: "id-1".into(), ..event("1") }];
        client.publish("orders", named()).await.unwrap();
        assert!(client.publish("orders", named()).await.unwrap()[0].duplicate);
        let request = v1::PublishRequest {
            topic: "orders".into(),
            events: vec![event("2")],
            validate_only: true,
            ..Default::default()
        };
        client.events().publish(request).await.unwrap();
        client.publish("orders", vec![v1::NewEvent { id: "id-1".into(), ..event("3") }]).await.unwrap_err();
        assert_eq!(Metrics::of(&server).await.get("eventflow_published_events_total"), 1);
    }
}
