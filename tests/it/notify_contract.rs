//! What every notifier promises, and what the one over Redis promises when Redis does not.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use eventflow::{
    domain::{ConsumerId, ServerId, TopicId},
    notify::{Control, Hub, LocalNotifier, Notifier, NotifierState, RedisNotifier, RedisOptions, Registration},
};
use secrecy::SecretString;
use tokio::{sync::broadcast, time::timeout};
use uuid::Uuid;

use crate::harness::{
    chaos::Proxy,
    patience::{DEADLINE, eventually, eventually_within},
    redis::Redis,
};

/// The time within which a lost Redis must be noticed.
const NOTICE: Duration = Duration::from_secs(5);

/// A server, as far as notifying goes.
struct Server<N> {
    hub: Arc<Hub>,
    notifier: N,
}

impl Server<RedisNotifier> {
    /// A server of a cluster, by way of `address`.
    fn begin(redis: &Redis, address: SocketAddr, cluster: Uuid, options: RedisOptions) -> Self {
        let (hub, url) = (Hub::new(), SecretString::from(redis.url_through(address)));
        let server = ServerId(Uuid::new_v4());
        let notifier = RedisNotifier::connect(&url, cluster, server, Arc::clone(&hub), options).unwrap();
        Self { hub, notifier }
    }

    /// A healthy server of a cluster.
    async fn of(redis: &Redis, cluster: Uuid) -> Self {
        let server = Self::begin(redis, redis.address(), cluster, RedisOptions::default());
        server.becomes(NotifierState::Healthy, DEADLINE).await;
        server
    }

    /// Waits until it has handled everything that Redis was told before.
    async fn catches_up(&self, redis: &Redis, cluster: Uuid) {
        let before = self.notifier.counts().ignored;
        // Redis passes messages on in the order in which it gets them.
        redis.publish(&[(&format!("eventflow:{cluster}:beat"), b"nonsense")]).await;
        let counted = async || (self.notifier.counts().ignored > before).then_some(());
        eventually("a message to be ignored", counted).await;
    }
}

impl<N: Notifier> Server<N> {
    async fn becomes(&self, wanted: NotifierState, deadline: Duration) {
        let mut state = self.notifier.state();
        let reached = timeout(deadline, state.wait_for(|state| *state == wanted)).await;
        assert!(reached.is_ok(), "not {wanted:?} within {deadline:?}");
    }

    /// A reader that has seen all wake-ups so far.
    fn reader(&self, topic: i32) -> Registration {
        let mut reader = self.hub.register(TopicId(topic));
        reader.seen();
        reader
    }
}

/// Fails unless the reader is woken.
async fn is_woken(reader: &mut Registration) {
    assert!(timeout(DEADLINE, reader.woken()).await.is_ok(), "nobody woke the reader");
    reader.seen();
}

/// Whether the reader was woken since it looked last.
async fn was_woken(reader: &mut Registration) -> bool {
    timeout(Duration::ZERO, reader.woken()).await.is_ok()
}

/// Fails unless the message comes, among others.
async fn hears(controls: &mut broadcast::Receiver<Control>, wanted: Control) {
    let heard = timeout(DEADLINE, async { while controls.recv().await.unwrap() != wanted {} }).await;
    assert!(heard.is_ok(), "nobody said {wanted:?}");
}

/// What a notifier promises whether or not there are other servers.
async fn keeps_the_contract_of_one_server<N: Notifier>(server: Server<N>) {
    let mut controls = server.hub.controls();
    let mut reader = server.reader(1);
    for control in [Control::TopicsChanged, Control::IdentitiesChanged, Control::ConsumerChanged(ConsumerId(3))] {
        server.notifier.control(control);
        // At once, without asking anybody.
        assert_eq!(controls.try_recv(), Ok(control));
    }
    server.notifier.announce(TopicId(1));
    assert!(!was_woken(&mut reader).await, "an announcement wakes other servers, not this one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_notifier_keeps_the_contract() {
    let hub = Hub::new();
    let server = Server { notifier: LocalNotifier::new(Arc::clone(&hub), NotifierState::Healthy), hub };
    server.becomes(NotifierState::Healthy, Duration::ZERO).await;
    keeps_the_contract_of_one_server(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_notifier_keeps_the_contract() {
    keeps_the_contract_of_one_server(Server::of(Redis::shared().await, Uuid::new_v4()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_notifier_keeps_the_contract_without_redis() {
    let redis = Redis::shared().await;
    let proxy = Proxy::to_redis(redis.address()).await;
    proxy.refuse(true);
    let server = Server::begin(redis, proxy.address(), Uuid::new_v4(), RedisOptions::default());
    server.becomes(NotifierState::Degraded, Duration::ZERO).await;
    keeps_the_contract_of_one_server(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_wakes_the_readers_of_its_topic_on_other_servers() {
    let (redis, cluster) = (Redis::shared().await, Uuid::new_v4());
    let (one, other) = (Server::of(redis, cluster).await, Server::of(redis, cluster).await);
    let stranger = Server::of(redis, Uuid::new_v4()).await;
    let (mut own, mut stranger) = (one.reader(1), stranger.reader(1));
    let (mut first, mut second, mut different) = (other.reader(1), other.reader(1), other.reader(2));

    one.notifier.announce(TopicId(1));

    is_woken(&mut first).await;
    is_woken(&mut second).await;
    one.catches_up(redis, cluster).await;
    assert!(!was_woken(&mut different).await, "the reader of another topic was woken");
    assert!(!was_woken(&mut own).await, "a server woke itself through Redis");
    assert!(!was_woken(&mut stranger).await, "a server over another store was woken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_message_reaches_every_server() {
    let (redis, cluster) = (Redis::shared().await, Uuid::new_v4());
    let (one, other) = (Server::of(redis, cluster).await, Server::of(redis, cluster).await);
    for control in [Control::TopicsChanged, Control::IdentitiesChanged, Control::ConsumerChanged(ConsumerId(3))] {
        let (mut here, mut there) = (one.hub.controls(), other.hub.controls());
        one.notifier.control(control);
        hears(&mut here, control).await;
        hears(&mut there, control).await;
        one.catches_up(redis, cluster).await;
        assert!(here.try_recv().is_err(), "a server heard itself twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_is_counted_and_changes_nothing() {
    let (redis, cluster) = (Redis::shared().await, Uuid::new_v4());
    let (one, other) = (Server::of(redis, cluster).await, Server::of(redis, cluster).await);
    let (mut reader, mut controls) = (other.reader(1), other.hub.controls());
    let channel = |name: &str| format!("eventflow:{cluster}:{name}");
    let (topic, nowhere) = (channel("topic:1"), channel("topic:"));
    let (control, beat) = (channel("control"), channel("beat"));
    let forged = format!("1 {} {}", Uuid::new_v4(), " ".repeat(1 << 20)).into_bytes();
    let wrong: [(&str, &[u8]); 6] =
        [(&topic, b""), (&topic, b"\xff\0"), (&topic, &forged), (&nowhere, b"1"), (&control, b"1 x"), (&beat, b"{}")];

    redis.publish(&wrong).await;
    one.notifier.announce(TopicId(2));

    let counted = async || (other.notifier.counts().ignored == 6).then_some(());
    eventually("six messages to be ignored", counted).await;
    other.catches_up(redis, cluster).await;
    assert!(!was_woken(&mut reader).await);
    assert!(controls.try_recv().is_err());
    one.notifier.announce(TopicId(1));
    is_woken(&mut reader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redis_is_noticed_and_found_again() {
    let mut redis = Redis::private().await;
    let server = Server::of(&redis, Uuid::new_v4()).await;
    let mut reader = server.reader(1);

    redis.kill();
    server.becomes(NotifierState::Degraded, NOTICE).await;
    assert!(!was_woken(&mut reader).await);
    let mut controls = server.hub.controls();

    redis.start_again().await;
    server.becomes(NotifierState::Healthy, DEADLINE).await;
    // Something may have been said while nobody listened.
    is_woken(&mut reader).await;
    hears(&mut controls, Control::Everything).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_redis_is_noticed_and_heard_again() {
    let redis = Redis::private().await;
    let server = Server::of(&redis, Uuid::new_v4()).await;
    let mut reader = server.reader(1);
    redis.pause();
    server.becomes(NotifierState::Degraded, NOTICE).await;
    redis.resume();
    server.becomes(NotifierState::Healthy, DEADLINE).await;
    is_woken(&mut reader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_loses_messages_is_noticed() {
    let redis = Redis::shared().await;
    let proxy = Proxy::to_redis(redis.address()).await;
    let server = Server::begin(redis, proxy.address(), Uuid::new_v4(), RedisOptions::default());
    server.becomes(NotifierState::Healthy, DEADLINE).await;
    proxy.swallow(Some(""));
    server.becomes(NotifierState::Degraded, NOTICE).await;
    proxy.swallow(None);
    server.becomes(NotifierState::Healthy, DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_made_again() {
    let redis = Redis::shared().await;
    let proxy = Proxy::to_redis(redis.address()).await;
    let server = Server::begin(redis, proxy.address(), Uuid::new_v4(), RedisOptions::default());
    server.becomes(NotifierState::Healthy, DEADLINE).await;
    for times in 2..5 {
        let mut reader = server.reader(1);
        proxy.cut();
        is_woken(&mut reader).await;
        assert_eq!(server.notifier.counts().connected, times);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_announced_while_redis_is_away_is_said_later() {
    let (redis, cluster) = (Redis::shared().await, Uuid::new_v4());
    let proxy = Proxy::to_redis(redis.address()).await;
    proxy.refuse(true);
    let away = Server::begin(redis, proxy.address(), cluster, RedisOptions::default());
    let other = Server::of(redis, cluster).await;
    let (mut reader, mut controls) = (other.reader(1), other.hub.controls());
    away.notifier.announce(TopicId(1));
    away.notifier.control(Control::ConsumerChanged(ConsumerId(7)));
    other.catches_up(redis, cluster).await;
    assert!(!was_woken(&mut reader).await);

    proxy.refuse(false);

    is_woken(&mut reader).await;
    hears(&mut controls, Control::ConsumerChanged(ConsumerId(7))).await;
    away.becomes(NotifierState::Healthy, DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn announcements_of_one_topic_are_said_together() {
    let (redis, cluster) = (Redis::shared().await, Uuid::new_v4());
    let (one, other) = (Server::of(redis, cluster).await, Server::of(redis, cluster).await);
    let mut reader = other.reader(1);
    for _ in 0..100_000 {
        one.notifier.announce(TopicId(1));
    }
    is_woken(&mut reader).await;
    one.notifier.shutdown().await;
    let published = one.notifier.counts().published;
    assert!((1..10_000).contains(&published), "{published} messages for 100,000 announcements of one topic");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_grew_together_are_told_of_by_few_messages() {
    let (redis, cluster) = (Redis::shared().await, Uuid::new_v4());
    let proxy = Proxy::to_redis(redis.address()).await;
    proxy.refuse(true);
    let away = Server::begin(redis, proxy.address(), cluster, RedisOptions::default());
    let other = Server::of(redis, cluster).await;
    let mut readers: Vec<_> = (0..1000).map(|topic| other.reader(topic)).collect();
    let mut nobody = other.reader(1000);
    for topic in 0..1000 {
        away.notifier.announce(TopicId(topic));
    }
    proxy.refuse(false);
    for reader in &mut readers {
        is_woken(reader).await;
    }
    assert!(!was_woken(&mut nobody).await);
    // 256 topics each.
    let counted = async || (away.notifier.counts().published == 4).then_some(());
    eventually("four messages to be counted", counted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_announcements_become_one_message() {
    let (redis, cluster) = (Redis::shared().await, Uuid::new_v4());
    let proxy = Proxy::to_redis(redis.address()).await;
    proxy.refuse(true);
    let away = Server::begin(redis, proxy.address(), cluster, RedisOptions::default());
    let other = Server::of(redis, cluster).await;
    let (mut reader, mut controls) = (other.reader(1), other.hub.controls());
    for topic in 0..20_000 {
        away.notifier.announce(TopicId(topic));
    }
    proxy.refuse(false);
    is_woken(&mut reader).await;
    hears(&mut controls, Control::Everything).await;
    let counted = async || (away.notifier.counts().published == 1).then_some(());
    eventually("one message to be counted", counted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_come_too_fast_count_as_anything() {
    let (redis, cluster) = (Redis::shared().await, Uuid::new_v4());
    let options = RedisOptions { heard_capacity: 1, ..RedisOptions::default() };
    let server = Server::begin(redis, redis.address(), cluster, options);
    server.becomes(NotifierState::Healthy, DEADLINE).await;
    let (mut reader, mut controls) = (server.reader(1), server.hub.controls());

    let (channel, payload) = (format!("eventflow:{cluster}:topic:2"), format!("1 {}", Uuid::new_v4()));
    redis.publish(&vec![(channel.as_str(), payload.as_bytes()); 1000]).await;

    is_woken(&mut reader).await;
    hears(&mut controls, Control::Everything).await;
    assert!(server.notifier.counts().lagged > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_that_ends_says_what_waits_and_closes_its_connections() {
    let (redis, cluster) = (Redis::private().await, Uuid::new_v4());
    let (one, other) = (Server::of(&redis, cluster).await, Server::of(&redis, cluster).await);
    assert_eq!(redis.subscribers().await, 2);
    let mut reader = other.reader(1);

    one.notifier.announce(TopicId(1));
    one.notifier.shutdown().await;

    is_woken(&mut reader).await;
    eventually("a connection to be closed", async || (redis.subscribers().await == 1).then_some(())).await;
    drop(other);
    let closed = async || (redis.subscribers().await == 0).then_some(());
    eventually_within(DEADLINE, "a dropped notifier to close its connections", closed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_is_not_shown() {
    let redis = Redis::shared().await;
    let server = Server::of(redis, Uuid::new_v4()).await;
    assert!(!format!("{:?}", server.notifier).contains(redis.password()));
}
