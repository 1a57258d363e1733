//! The server that is measured.

use tonic::{Request, metadata::AsciiMetadataValue, transport::Channel};
use uuid::Uuid;

use super::order::{checksum, customer, order};
use crate::{
    cli::{connection::Connection, failure::Failure},
    proto::v1::{
        self, consumer_service_client::ConsumerServiceClient, event_service_client::EventServiceClient,
        topic_service_client::TopicServiceClient,
    },
};

/// Connections that fill a topic.
const CONNECTIONS: u64 = 8;
/// Events in a request that fills a topic.
const BATCH: u64 = 1000;

/// The server, and the credential for all calls, which is looked up once.
pub(super) struct Target<'a> {
    connection: &'a Connection,
    authorization: Option<AsciiMetadataValue>,
}

/// A topic of one run; it is to be [removed](Target::remove).
#[derive(Debug, Clone)]
pub(super) struct Scratch {
    pub(super) name: String,
    pub(super) events: u64,
    /// That of all its events.
    pub(super) checksum: u64,
}

impl<'a> Target<'a> {
    pub(super) async fn new(connection: &'a Connection) -> Result<Self, Failure> {
        let request = connection.stream_request(()).await?;
        let authorization = request.metadata().get("authorization").cloned();
        Ok(Self { connection, authorization })
    }

    /// A connection of its own.
    pub(super) fn channel(&self) -> Channel {
        self.connection.another_channel()
    }

    /// What makes requests with the credential.
    pub(super) fn caller(&self) -> Caller {
        Caller(self.authorization.clone())
    }

    /// Creates a topic and fills it, with keys if wanted.
    pub(super) async fn fill(&self, workload: &str, events: u64, keyed: bool) -> Result<Scratch, Failure> {
        let name = format!("bench.{workload}.{}", Uuid::now_v7().simple());
        let topic = v1::Topic { name: name.clone(), description: "of eventflow bench".into(), ..Default::default() };
        let request = v1::CreateTopicRequest { topic: Some(topic), if_not_exists: false };
        TopicServiceClient::new(self.channel()).create_topic(self.caller().request(request)).await?;
        let mut tasks = Vec::new();
        for part in 0..CONNECTIONS {
            let (first, last) = (events * part / CONNECTIONS, events * (part + 1) / CONNECTIONS);
            let (client, caller, topic) = (EventServiceClient::new(self.channel()), self.caller(), name.clone());
            tasks.push(tokio::spawn(fill(client, caller, topic, first, last, keyed)));
        }
        let mut sum = 0_u64;
        for task in tasks {
            sum = sum.wrapping_add(task.await.map_err(|error| Failure::Local(error.to_string()))??);
        }
        Ok(Scratch { name, events, checksum: sum })
    }

    /// Deletes a topic and the consumer `consumer` of it, if there is one.
    pub(super) async fn remove(&self, topic: &Scratch, consumer: Option<&str>) -> Result<(), Failure> {
        if let Some(name) = consumer {
            let request = self.caller().request(v1::DeleteConsumerRequest { name: name.into() });
            ConsumerServiceClient::new(self.channel()).delete_consumer(request).await?;
        }
        let request = self.caller().request(v1::DeleteTopicRequest { name: topic.name.clone() });
        TopicServiceClient::new(self.channel()).delete_topic(request).await?;
        Ok(())
    }
}

/// Makes requests with the credential.
#[derive(Debug, Clone)]
pub(super) struct Caller(Option<AsciiMetadataValue>);

impl Caller {
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.0 {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        request
    }
}

/// Publishes the events from `first` to `last`, without it, and returns their checksum.
async fn fill(
    mut client: EventServiceClient<Channel>,
    caller: Caller,
    topic: String,
    first: u64,
    last: u64,
    keyed: bool,
) -> Result<u64, Failure> {
    let mut sum = 0_u64;
    let mut next = first;
    while next < last {
        let end = (next + BATCH).min(last);
        let event = |n| {
            let text = order(n);
            sum = sum.wrapping_add(checksum(text.as_bytes()));
            let key = if keyed { customer(n) } else { String::new() };
            let payload = Some(v1::new_event::Payload::Text(text));
            v1::NewEvent { r#type: "order.placed".into(), key, payload, ..Default::default() }
        };
        let events = (next..end).map(event).collect();
        let request = v1::PublishRequest { topic: topic.clone(), events, ..Default::default() };
        client.publish(caller.request(request)).await?;
        next = end;
    }
    Ok(sum)
}
