//! Publishing on a stream: pipelined, in order, and ended with a word.

mod breaks;
mod ending;
mod leaving;
mod limits;
mod order;
mod refusals;
mod responses;

use eventflow::proto::v1::{
    self, PublishRequest, PublishResponse, PublishStreamRequest, PublishStreamResponse,
    publish_stream_response::Result as Outcome,
};
use sqlx::{Executor, PgConnection};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};

use crate::{
    client::{Client, as_status, event},
    harness::{
        backend::Backend,
        chaos::Proxy,
        databases::Database,
        patience::DEADLINE,
        postgres::Postgres,
        server::{Server, Start},
    },
};

/// Requests that the client itself holds ready.
const READY: usize = 16_384;

/// An open stream.
struct Pipe {
    requests: Option<mpsc::Sender<PublishStreamRequest>>,
    responses: Streaming<PublishStreamResponse>,
}

/// What became of one request.
type Answer = (i64, Result<PublishResponse, Status>);

impl Pipe {
    async fn open(client: &Client) -> Result<Self, Status> {
        Self::open_with(client, &[]).await
    }

    /// With further metadata.
    async fn open_with(client: &Client, headers: &[(&'static str, &'static str)]) -> Result<Self, Status> {
        let (requests, received) = mpsc::channel(READY);
        let mut request = Request::new(ReceiverStream::new(received));
        for (name, value) in headers {
            request.metadata_mut().insert(*name, value.parse().expect("a value of a header"));
        }
        let mut events = client.events();
        let opening = timeout(DEADLINE, events.publish_stream(request)).await;
        let responses = opening.expect("a stream opens or is refused in time")?.into_inner();
        Ok(Self { requests: Some(requests), responses })
    }

    /// Sends a request as it is. What the server does not read waits in the client.
    async fn send_whole(&self, request: PublishStreamRequest) {
        let requests = self.requests.as_ref().expect("the client has not closed its side");
        // An error means that the stream has ended, which its responses say.
        let _ = requests.send(request).await;
    }

    async fn send(&self, sequence: i64, publish: PublishRequest) {
        self.send_whole(PublishStreamRequest { sequence, publish: Some(publish) }).await;
    }

    /// Has nothing more to send.
    fn close(&mut self) {
        self.requests = None;
    }

    /// The next response; `None` at the end.
    async fn next(&mut self) -> Result<Option<PublishStreamResponse>, Status> {
        timeout(DEADLINE, self.responses.message()).await.expect("a response comes in time")
    }

    /// The next response, which must be the answer to a request.
    async fn answer(&mut self) -> Answer {
        let response = self.next().await.expect("the stream goes on").expect("the stream goes on");
        answer_of(response).expect("not an answer: the stream closes")
    }

    /// Answers until there are `count`.
    async fn answers(&mut self, count: usize) -> Vec<Answer> {
        let mut answers = Vec::new();
        while answers.len() < count {
            answers.push(self.answer().await);
        }
        answers
    }

    /// Everything until the stream ends: answers, why it said that it closes, and how it ended.
    async fn rest(&mut self) -> (Vec<Answer>, Option<v1::closing::Reason>, Result<(), Status>) {
        let (mut answers, mut closing) = (Vec::new(), None);
        loop {
            match self.next().await {
                Ok(Some(response)) => {
                    assert_eq!(closing, None, "something came after closing: {response:?}");
                    match answer_of(response) {
                        Ok(answer) => answers.push(answer),
                        Err(said) => closing = Some(said.reason()),
                    }
                }
                Ok(None) => return (answers, closing, Ok(())),
                Err(status) => return (answers, closing, Err(status)),
            }
        }
    }
}

/// The answer that a response is, or the notice that the stream closes.
fn answer_of(response: PublishStreamResponse) -> Result<Answer, v1::Closing> {
    let sequence = response.sequence;
    match response.result.expect("always set") {
        Outcome::Published(published) => Ok((sequence, Ok(published))),
        Outcome::Error(error) => Ok((sequence, Err(as_status(error)))),
        Outcome::Closing(closing) => {
            assert_eq!(sequence, 0);
            Err(closing)
        }
    }
}

/// A request for a topic.
fn to(topic: &str, events: Vec<v1::NewEvent>) -> PublishRequest {
    PublishRequest { topic: topic.into(), events, ..Default::default() }
}

/// An event with an id, and a text made of it.
fn keyed(id: &str) -> v1::NewEvent {
    v1::NewEvent { id: id.into(), ..event(&format!("text of {id}")) }
}

/// The offsets that a request was given.
fn offsets(answer: &Answer) -> Vec<i64> {
    let published = answer.1.as_ref().unwrap_or_else(|status| panic!("refused: {status:?}"));
    published.published.iter().map(|published| published.offset).collect()
}

/// The reason of a refusal; "-" of an answer that is none.
fn reason(answer: &Answer) -> String {
    match &answer.1 {
        Ok(_) => "-".to_owned(),
        Err(status) => status.metadata().get("eventflow-reason").expect("a reason").to_str().expect("ASCII").to_owned(),
    }
}

async fn head(client: &Client, topic: &str) -> i64 {
    let request = v1::GetTopicRequest { name: topic.into() };
    let response = client.topics().get_topic(request).await.expect("a topic can be looked at").into_inner();
    response.topic.expect("a topic is told").head_offset
}

/// A server with these topics, and its admin.
async fn with_topics(start: Start, topics: &[&str]) -> (Server, Client) {
    let server = start.start().await;
    let admin = Client::admin(&server).await;
    for topic in topics {
        admin.create_topic(topic).await;
    }
    (server, admin)
}

/// A server on a Postgres of its own, for faults there.
async fn on_postgres(topics: &[&str]) -> (Server, Client, Database) {
    let database = Database::fresh().await;
    let start = Server::embedded().environment("EVENTFLOW_DATABASE_URL", &database.url());
    let (server, admin) = with_topics(start, topics).await;
    (server, admin, database)
}

/// Holds appends to a topic up until it is rolled back.
async fn hold_up(postgres: &mut PgConnection, topic: &str) {
    postgres.execute("begin").await.unwrap();
    let row = sqlx::query("select id from eventflow.topics where name = $1 for update").bind(topic);
    row.fetch_one(postgres).await.unwrap();
}

/// As [`with_topics`], on one of the stores.
async fn on(backend: Backend, topics: &[&str]) -> (Server, Client) {
    with_topics(backend.server().await, topics).await
}

/// A server whose way to its store can be broken, and its admin.
async fn behind(topics: &[&str], queue_timeout: &str) -> (Server, Client, Proxy, Database) {
    let database = Database::fresh().await;
    let proxy = Proxy::to_unix(Postgres::shared().await.socket()).await;
    let url = database.url_through(proxy.address());
    let start = Server::embedded().environment("EVENTFLOW_DATABASE_URL", &url).flag("--queue-timeout", queue_timeout);
    let (server, admin) = with_topics(start, topics).await;
    (server, admin, proxy, database)
}
