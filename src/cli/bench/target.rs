//! The server that is measured, and what the measuring leaves there until it is removed.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use tonic::{Code, Request, metadata::AsciiMetadataValue, transport::Channel};
use uuid::Uuid;

use crate::{
    cli::{
        connection::Connection,
        failure::{Failure, reason},
    },
    proto::v1::{
        self, auth_service_client::AuthServiceClient, consumer_service_client::ConsumerServiceClient,
        topic_service_client::TopicServiceClient,
    },
};

/// Topics that are created or deleted at once.
const AT_ONCE: usize = 16;

/// The server, another one for readers if there is one, and the credential for all calls.
pub(super) struct Target {
    connection: Connection,
    second: Option<Connection>,
    /// Where the server's metrics are.
    metrics: Option<String>,
    authorization: Mutex<Option<AsciiMetadataValue>>,
    left: Mutex<Left>,
}

/// What is to be removed, by name. It is noted before it is made, so that no interrupt can come between.
#[derive(Debug, Default)]
struct Left {
    consumers: BTreeSet<String>,
    topics: BTreeSet<String>,
}

impl Target {
    /// Looks the credential up, and asks each server who calls, so that neither is away or refuses it.
    pub(super) async fn open(
        connection: Connection,
        second: Option<Connection>,
        metrics: Option<String>,
    ) -> Result<Self, Failure> {
        let target = Self { connection, second, metrics, authorization: Mutex::default(), left: Mutex::default() };
        target.renew().await?;
        for connection in [Some(&target.connection), target.second.as_ref()].into_iter().flatten() {
            let failed = |failure: Failure| failure.at(&connection.address().name());
            target.call_on(connection.channel()).await.map_err(failed)?;
        }
        Ok(target)
    }

    /// Looks the credential up again: a login may have to be renewed.
    pub(super) async fn renew(&self) -> Result<(), Failure> {
        let request = self.connection.stream_request(()).await?;
        *self.authorization.lock() = request.metadata().get("authorization").cloned();
        Ok(())
    }

    /// A connection of its own, that is open.
    pub(super) async fn channel(&self) -> Result<Channel, Failure> {
        self.open_channel(&self.connection).await
    }

    /// The same to the server that readers are to use.
    pub(super) async fn reader_channel(&self) -> Result<Channel, Failure> {
        self.open_channel(self.second.as_ref().unwrap_or(&self.connection)).await
    }

    async fn open_channel(&self, connection: &Connection) -> Result<Channel, Failure> {
        let channel = connection.another_channel();
        self.call_on(channel.clone()).await?;
        Ok(channel)
    }

    async fn call_on(&self, channel: Channel) -> Result<(), Failure> {
        let mut request = self.caller().request(v1::GetCallerRequest {});
        request.set_timeout(self.connection.timeout());
        AuthServiceClient::new(channel).get_caller(request).await?;
        Ok(())
    }

    /// Where the server's metrics are, if that is known.
    pub(super) fn metrics(&self) -> Option<&str> {
        self.metrics.as_deref()
    }

    /// What makes requests with the credential.
    pub(super) fn caller(&self) -> Caller {
        Caller(self.authorization.lock().clone())
    }

    /// Creates an empty topic, which is there until everything is [removed](Self::remove_all).
    pub(super) async fn create_topic(&self, workload: &str) -> Result<String, Failure> {
        let name = format!("bench.{workload}.{}", Uuid::now_v7().simple());
        let topic = v1::Topic { name: name.clone(), description: "of eventflow bench".into(), ..Default::default() };
        self.left.lock().topics.insert(name.clone());
        let request = v1::CreateTopicRequest { topic: Some(topic), if_not_exists: false };
        TopicServiceClient::new(self.connection.channel()).create_topic(self.caller().request(request)).await?;
        Ok(name)
    }

    /// Creates so many of them.
    pub(super) async fn create_topics(&self, workload: &str, count: usize) -> Result<Vec<String>, Failure> {
        let create = |_| self.create_topic(workload);
        stream::iter(0..count).map(create).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Deletes topics before the end.
    pub(super) async fn delete_topics(&self, names: &[String]) -> Result<(), Failure> {
        let delete = |name: &String| self.delete_topic(name.clone());
        stream::iter(names).map(delete).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn delete_topic(&self, name: String) -> Result<(), Failure> {
        let request = self.caller().request(v1::DeleteTopicRequest { name: name.clone() });
        gone(TopicServiceClient::new(self.connection.channel()).delete_topic(request).await.map(drop))?;
        self.left.lock().topics.remove(&name);
        Ok(())
    }

    /// Registers a consumer in MODE_QUEUE that is named as its topic, and is there until it is removed.
    pub(super) async fn register_queue(&self, topic: &str) -> Result<(), Failure> {
        let consumer = v1::Consumer {
            name: topic.to_owned(),
            topic: topic.to_owned(),
            mode: v1::Mode::Queue.into(),
            max_in_flight: 100_000,
            ..Default::default()
        };
        self.left.lock().consumers.insert(topic.to_owned());
        let request = v1::RegisterConsumerRequest { consumer: Some(consumer), if_not_exists: false };
        let request = self.caller().request(request);
        ConsumerServiceClient::new(self.connection.channel()).register_consumer(request).await?;
        Ok(())
    }

    /// Deletes a consumer.
    pub(super) async fn delete_consumer(&self, name: &str) -> Result<(), Failure> {
        let request = self.caller().request(v1::DeleteConsumerRequest { name: name.to_owned() });
        let answer = ConsumerServiceClient::new(self.connection.channel()).delete_consumer(request).await;
        gone(answer.map(drop))?;
        self.left.lock().consumers.remove(name);
        Ok(())
    }

    /// Deletes everything that was made here. Cancelling it leaves the rest.
    pub(super) async fn remove_all(&self) -> Result<(), Failure> {
        self.renew().await?;
        let Left { consumers, topics } = std::mem::take(&mut *self.left.lock());
        for name in consumers {
            self.delete_consumer(&name).await?;
        }
        for name in topics {
            self.delete_topic(name).await?;
        }
        Ok(())
    }
}

/// What was never made needs no deleting.
fn gone(answer: Result<(), tonic::Status>) -> Result<(), Failure> {
    match answer {
        Err(status) if status.code() == Code::NotFound && reason(&status).is_some() => Ok(()),
        other => Ok(other?),
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
