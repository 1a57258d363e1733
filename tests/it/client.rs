//! A client of a server under test, with a credential.

use std::{net::SocketAddr, time::Duration};

use eventflow::proto::v1::{
    self, auth_service_client::AuthServiceClient, consumer_service_client::ConsumerServiceClient,
    event_service_client::EventServiceClient, producer_service_client::ProducerServiceClient, subscribe_response,
    topic_service_client::TopicServiceClient,
};
use prost::Message;
use tokio::time::timeout;
use tonic::{
    Code, Request, Status, Streaming,
    metadata::{Ascii, MetadataMap, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

use crate::harness::{patience::DEADLINE, server::Server};

/// Adds a credential to every call.
#[derive(Debug, Clone)]
pub struct Credential(Option<MetadataValue<Ascii>>);

impl Interceptor for Credential {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// A connection that sends a credential with every call.
pub type Transport = InterceptedService<Channel, Credential>;

/// A connection and a credential.
#[derive(Debug, Clone)]
pub struct Client {
    credential: Credential,
    channel: Channel,
}

impl Client {
    /// A client of `server` that is its admin, by the password that the first start wrote.
    pub async fn admin(server: &Server) -> Self {
        let path = server.data_dir().join("admin-password");
        let password = std::fs::read_to_string(path).expect("the first start wrote the admin's password");
        let anonymous = Self::anonymous(server).await;
        let request = v1::LoginRequest { username: "admin".into(), password: password.trim().into() };
        let response = anonymous.auth().login(request).await.expect("the admin can log in").into_inner();
        anonymous.with(&response.tokens.expect("a login has tokens").access_token)
    }

    /// A client without a credential.
    pub async fn anonymous(server: &Server) -> Self {
        Self { credential: Credential(None), channel: server.channel().await }
    }

    /// The same connection with another token or key.
    pub fn with(&self, credential: &str) -> Self {
        let value = format!("Bearer {credential}").parse().expect("a credential is printable");
        Self { credential: Credential(Some(value)), channel: self.channel.clone() }
    }

    /// This credential on a new connection, to another server or to the same one.
    pub async fn on(&self, server: &Server) -> Self {
        Self { credential: self.credential.clone(), channel: server.channel().await }
    }

    /// This credential on a new connection that takes 64 KiB of a stream ahead of its reader.
    pub async fn reading_little(&self, server: &Server) -> Self {
        let endpoint =
            Endpoint::from_shared(format!("http://{}", server.listen())).expect("an address is a URL's part");
        let channel = endpoint.initial_stream_window_size(65_535).connect().await.expect("it accepts connections");
        Self { credential: self.credential.clone(), channel }
    }

    /// This credential on a new connection by way of a proxy.
    pub async fn through(&self, proxy: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{proxy}")).expect("an address is a URL's part");
        let channel = endpoint.connect().await.expect("the server behind the proxy accepts connections");
        Self { credential: self.credential.clone(), channel }
    }

    /// What the generated clients call through.
    pub fn transport(&self) -> Transport {
        InterceptedService::new(self.channel.clone(), self.credential.clone())
    }

    pub fn auth(&self) -> AuthServiceClient<Transport> {
        AuthServiceClient::new(self.transport())
    }

    pub fn topics(&self) -> TopicServiceClient<Transport> {
        TopicServiceClient::new(self.transport())
    }

    pub fn events(&self) -> EventServiceClient<Transport> {
        EventServiceClient::new(self.transport())
    }

    pub fn consumers(&self) -> ConsumerServiceClient<Transport> {
        ConsumerServiceClient::new(self.transport())
    }

    pub fn producers(&self) -> ProducerServiceClient<Transport> {
        ProducerServiceClient::new(self.transport())
    }

    /// Creates a topic with no settings.
    pub async fn create_topic(&self, name: &str) {
        let topic = v1::Topic { name: name.into(), ..Default::default() };
        let request = v1::CreateTopicRequest { topic: Some(topic), if_not_exists: false };
        self.topics().create_topic(request).await.expect("a topic can be created");
    }

    /// Registers an ordered consumer from the earliest event on.
    pub async fn register(&self, name: &str, topic: &str) {
        let consumer = v1::Consumer { name: name.into(), topic: topic.into(), ..Default::default() };
        let request = v1::RegisterConsumerRequest { consumer: Some(consumer), if_not_exists: false };
        self.consumers().register_consumer(request).await.expect("a consumer can be registered");
    }

    /// Registers a producer for these topics and returns a client with its key.
    pub async fn producer(&self, name: &str, topics: &[&str]) -> Self {
        let topics = topics.iter().map(|topic| topic.to_string()).collect();
        let producer = v1::Producer { name: name.into(), topics, ..Default::default() };
        let request = v1::RegisterProducerRequest { producer: Some(producer), if_not_exists: false };
        let response = self.producers().register_producer(request).await.expect("a producer can be registered");
        self.with(&response.into_inner().secret)
    }

    /// Publishes events.
    pub async fn publish(&self, topic: &str, events: Vec<v1::NewEvent>) -> Result<Vec<v1::Published>, Status> {
        let request = v1::PublishRequest { topic: topic.into(), events, ..Default::default() };
        Ok(self.events().publish(request).await?.into_inner().published)
    }

    /// Publishes `count` events without ids, numbered from `first` on in their text.
    pub async fn publish_numbered(&self, topic: &str, first: usize, count: usize) {
        for start in (first..first + count).step_by(1000) {
            let end = (start + 1000).min(first + count);
            let events = (start..end).map(|n| event(&n.to_string())).collect();
            self.publish(topic, events).await.expect("events can be published");
        }
    }

    /// Opens a stream.
    pub async fn subscribe(&self, request: v1::SubscribeRequest) -> Result<Stream, Status> {
        let mut consumers = self.consumers();
        let call = consumers.subscribe(request);
        let response = timeout(DEADLINE, call).await.expect("a stream opens or is refused in time")?;
        Ok(Stream { frames: response.into_inner() })
    }
}

/// An event of type `test` with a text.
pub fn event(text: &str) -> v1::NewEvent {
    let payload = Some(v1::new_event::Payload::Text(text.into()));
    v1::NewEvent { r#type: "test".into(), payload, ..Default::default() }
}

/// A request for a topic from its earliest event on.
pub fn from_earliest(topic: &str) -> v1::SubscribeRequest {
    v1::SubscribeRequest {
        from: Some(v1::subscribe_request::From::Topic(topic.into())),
        start: Some(v1::subscribe_request::Start::StartAt(v1::StartAt::Earliest.into())),
        ..Default::default()
    }
}

/// A request for a topic after an offset.
pub fn after(topic: &str, offset: i64) -> v1::SubscribeRequest {
    v1::SubscribeRequest { start: Some(v1::subscribe_request::Start::AfterOffset(offset)), ..from_earliest(topic) }
}

/// A request for a consumer.
pub fn as_consumer(name: &str) -> v1::SubscribeRequest {
    v1::SubscribeRequest { from: Some(v1::subscribe_request::From::Consumer(name.into())), ..Default::default() }
}

/// The text of an event.
pub fn text(event: &v1::Event) -> &str {
    match &event.payload {
        Some(v1::event::Payload::Text(text)) => text,
        Some(v1::event::Payload::Data(_)) | None => panic!("not a text: {event:?}"),
    }
}

/// An open stream.
#[derive(Debug)]
pub struct Stream {
    frames: Streaming<v1::SubscribeResponse>,
}

impl Stream {
    /// The next frame; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<subscribe_response::Frame>, Status> {
        self.next_within(DEADLINE).await
    }

    /// As [`Stream::next`], of a stream that may be silent for this long.
    pub async fn next_within(&mut self, deadline: Duration) -> Result<Option<subscribe_response::Frame>, Status> {
        let frame = timeout(deadline, self.frames.message()).await.expect("a stream is not silent for so long")?;
        Ok(frame.map(|frame| frame.frame.expect("a frame is of a known kind")))
    }

    /// The next frame, which must come.
    pub async fn frame(&mut self) -> subscribe_response::Frame {
        self.next().await.expect("the stream goes on").expect("the stream goes on")
    }

    /// The frame that begins a stream.
    pub async fn started(&mut self) -> v1::Started {
        match self.frame().await {
            subscribe_response::Frame::Started(started) => started,
            other => panic!("not Started: {other:?}"),
        }
    }

    /// Events until there are `count`, past frames without events.
    pub async fn events(&mut self, count: usize) -> Vec<v1::Event> {
        let mut events = Vec::new();
        while events.len() < count {
            if let subscribe_response::Frame::Batch(batch) = self.frame().await {
                events.extend(batch.events);
            }
        }
        assert_eq!(events.len(), count, "more events came than were waited for");
        events
    }

    /// Everything until the stream ends: its events, and how it ended.
    pub async fn rest(&mut self) -> (Vec<v1::Event>, Result<(), Status>) {
        let mut events = Vec::new();
        loop {
            match self.next().await {
                Ok(Some(subscribe_response::Frame::Batch(batch))) => events.extend(batch.events),
                Ok(Some(_)) => {}
                Ok(None) => return (events, Ok(())),
                Err(status) => return (events, Err(status)),
            }
        }
    }

    /// Reads until the stream has caught up, and returns its events so far.
    pub async fn until_caught_up(&mut self) -> Vec<v1::Event> {
        let mut events = Vec::new();
        loop {
            match self.frame().await {
                subscribe_response::Frame::Batch(batch) => events.extend(batch.events),
                subscribe_response::Frame::CaughtUp(_) => return events,
                _ => {}
            }
        }
    }
}

/// An error of one request of a stream as the status that it is laid out like.
pub fn as_status(error: v1::PublishError) -> Status {
    let v1::PublishError { code, message, details } = error;
    let (code, text) = (Code::from_i32(code), message.clone());
    let bytes = tonic_types::Status { code: code.into(), message, details }.encode_to_vec();
    let status = Status::with_details(code, text.clone(), bytes.clone().into());
    let reason = status.get_details_error_info().expect("ErrorInfo").reason;
    let mut metadata = MetadataMap::new();
    metadata.insert("eventflow-reason", reason.parse().expect("a reason is ASCII"));
    Status::with_details_and_metadata(code, text, bytes.into(), metadata)
}

/// Asserts that a status is this refusal, whole: code, reason in message, details and trailer, request id.
#[track_caller]
pub fn assert_refused(status: &Status, code: Code, reason: &str) {
    assert_eq!(status.code(), code, "{status:?}");
    assert!(status.message().starts_with(&format!("{reason}: ")), "{status:?}");
    let details = status.get_error_details();
    let info = details.error_info().expect("a status has ErrorInfo");
    assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "eventflow"));
    assert!(details.request_info().is_some_and(|info| !info.request_id.is_empty()), "no request id: {status:?}");
    let trailer = status.metadata().get("eventflow-reason").and_then(|value| value.to_str().ok());
    assert_eq!(trailer, Some(reason));
}

/// The fields that a status says are not acceptable.
pub fn violations(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let request = details.bad_request().map(|request| request.field_violations.clone()).unwrap_or_default();
    request.into_iter().map(|violation| violation.field).collect()
}

/// A short time in which nothing should happen.
pub const A_WHILE: Duration = Duration::from_millis(400);
