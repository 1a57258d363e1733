//! Workers, servers and the database die at random moments, or are replaced in an orderly way.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use eventflow::proto::v1::{self, settle_failure::Cause, subscribe_response::Frame};
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use super::{Got, Two, at_once, becomes, got, of, publish_keys, register, seconds, work};
use crate::{
    chance::Chance,
    client::{Client, Stream},
    feed::may_be_repeated,
    harness::{
        patience::{DEADLINE, eventually_within},
        postgres::Postgres,
        redis::Redis,
        server::Server,
    },
};

const EVENTS: usize = 2000;
const KEYS: usize = 50;
const WORKERS: usize = 8;
/// Every so many-th event is given up by its worker.
const HOPELESS: i64 = 97;
/// All of it, with two servers' leases that others take over after 15 s each.
const PATIENCE: Duration = Duration::from_secs(180);

/// What workers saw.
#[derive(Debug, Default)]
struct Record {
    received: usize,
    /// Who works on which key, and on which event of it.
    busy: HashMap<String, i64>,
    /// When the last delivery came of what is settled for good, by offset.
    done: BTreeMap<i64, (String, usize)>,
    /// By offset: when the last delivery came.
    last: HashMap<i64, usize>,
    attempts: HashMap<i64, i32>,
}

impl Record {
    fn receive(&mut self, one: &Got) {
        assert!(!self.done.contains_key(&one.offset), "{} came again after it was done", one.offset);
        if let Some(other) = self.busy.insert(one.key.clone(), one.offset) {
            panic!("{other} and {} of key {} are in flight together", one.offset, one.key);
        }
        let before = self.attempts.insert(one.offset, one.attempt).unwrap_or(0);
        assert!(one.attempt > before, "{} came as attempt {} after {before}", one.offset, one.attempt);
        self.received += 1;
        self.last.insert(one.offset, self.received);
    }

    fn done(&mut self, one: &Got) {
        let at = self.last[&one.offset];
        assert!(self.done.insert(one.offset, (one.key.clone(), at)).is_none(), "{} was done twice", one.offset);
    }

    /// Each key's events were done in order.
    fn assert_in_order(&self) {
        let mut keys: HashMap<&str, usize> = HashMap::new();
        for (offset, (key, at)) in &self.done {
            let before = keys.insert(key, *at).unwrap_or(0);
            assert!(before < *at, "{offset} of key {key} came before an earlier one was done");
        }
    }
}

/// A worker that goes on whatever happens.
struct Mortal {
    clients: Vec<Client>,
    record: Arc<Mutex<Record>>,
    chance: Chance,
    /// It dies now and then, and fails at some events.
    careless: bool,
}

impl Mortal {
    async fn run(mut self) {
        loop {
            let client = self.clients[self.chance.number(0..self.clients.len() as u64) as usize].clone();
            let request = v1::SubscribeRequest { max_batch_events: 5, ..at_once(10) };
            match client.subscribe(request).await {
                Ok(stream) => self.work(stream).await,
                Err(status) => assert!(may_be_repeated(&status), "{status:?}"),
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn work(&mut self, mut stream: Stream) {
        loop {
            let batch = match stream.next().await {
                Ok(Some(Frame::Deliveries(batch))) => got(&batch),
                Ok(Some(_)) => continue,
                Ok(None) => panic!("a stream without a stop ended well"),
                Err(_) => return,
            };
            {
                let mut record = self.record.lock();
                batch.iter().for_each(|one| record.receive(one));
            }
            if self.careless && self.chance.number(0..40) == 0 {
                let mut record = self.record.lock();
                record.busy.retain(|_, offset| batch.iter().all(|one| one.offset != *offset));
                // With the record locked: nobody is told of it before.
                drop(stream);
                return;
            }
            self.chance.moment(Duration::from_millis(20)).await;
            for one in &batch {
                self.settle(one).await;
            }
        }
    }

    /// Settles until it is known what became of it.
    async fn settle(&mut self, one: &Got) {
        self.record.lock().busy.remove(&one.key);
        let nack = |nack: v1::Nack| v1::SettleRequest {
            nack: vec![v1::Nack { offset: one.offset, ..nack }],
            ..of(&one.lease)
        };
        let fails = self.careless && self.chance.number(0..20) == 0;
        let request = match one.offset % HOPELESS == 0 {
            true => nack(v1::Nack { dead_letter: true, ..Default::default() }),
            false if fails => nack(v1::Nack::default()),
            false => v1::SettleRequest { ack: vec![one.offset], ..of(&one.lease) },
        };
        let began = Instant::now();
        let mut unknown = false;
        while began.elapsed() < PATIENCE {
            let client = &self.clients[self.chance.number(0..self.clients.len() as u64) as usize];
            match timeout(DEADLINE * 2, client.consumers().settle(request.clone())).await.expect("a call ends") {
                Ok(response) => {
                    let failures = response.into_inner().failures;
                    match failures.first().map(v1::SettleFailure::cause) {
                        None => {}
                        Some(Cause::AlreadySettled) if unknown => {}
                        Some(Cause::Lost) => return,
                        other => panic!("{one:?}: {other:?}"),
                    }
                    if !fails || one.offset % HOPELESS == 0 {
                        self.record.lock().done(one);
                    }
                    return;
                }
                Err(status) => assert!(may_be_repeated(&status), "{status:?}"),
            }
            unknown = true;
            sleep(Duration::from_millis(50)).await;
        }
        panic!("{one:?} could not be settled");
    }
}

/// Starts workers as these clients.
fn workers(
    clients: &[Client],
    record: &Arc<Mutex<Record>>,
    chance: &mut Chance,
    careless: bool,
) -> Vec<tokio::task::JoinHandle<()>> {
    let one = |_| {
        let chance = Chance::of(chance.number(0..u64::MAX));
        let worker = Mortal { clients: clients.to_vec(), record: record.clone(), chance, careless };
        tokio::spawn(worker.run())
    };
    (0..WORKERS).map(one).collect()
}

/// Publishes events with keys in random order.
async fn publish(client: &Client, chance: &mut Chance, count: usize) {
    let keys: Vec<_> = (0..count).map(|_| format!("key {}", chance.number(0..KEYS as u64))).collect();
    for part in keys.chunks(500) {
        publish_keys(client, &part.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
}

/// Waits until so many are done, as long as all workers live.
async fn reaches(record: &Arc<Mutex<Record>>, workers: &[tokio::task::JoinHandle<()>], count: usize) {
    eventually_within(PATIENCE, &format!("{count} events to be done"), async || {
        assert!(workers.iter().all(|worker| !worker.is_finished()), "a worker found something wrong");
        (record.lock().done.len() >= count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_done_once_and_in_order_whoever_dies() {
    let mut chance = Chance::printed();
    let (mut postgres, redis) = (Postgres::private().await, Redis::shared().await);
    let start = || {
        Server::embedded()
            .environment("EVENTFLOW_DATABASE_URL", &postgres.url("postgres"))
            .environment("EVENTFLOW_REDIS_URL", &redis.url())
    };
    let mut servers = [start().start().await, start().start().await];
    let here = Client::admin(&servers[0]).await;
    let clients = vec![here.clone(), here.on(&servers[1]).await];
    here.create_topic("jobs").await;
    register(&here, v1::Consumer { lease: seconds(3600), max_attempts: 1000, ..work() }).await;
    publish(&here, &mut chance, EVENTS).await;
    let record = Arc::<Mutex<Record>>::default();
    let workers = workers(&clients, &record, &mut chance, true);
    for round in 1..=4 {
        reaches(&record, &workers, round * EVENTS / 8).await;
        chance.moment(Duration::from_millis(500)).await;
        match round {
            1 => postgres.crash().await,
            2 => postgres.stop().await,
            round => {
                servers[round % 2].restart().await;
                continue;
            }
        }
        postgres.start_again().await;
    }
    reaches(&record, &workers, EVENTS).await;
    workers.iter().for_each(tokio::task::JoinHandle::abort);
    let dead = (1..=EVENTS as i64).filter(|offset| offset % HOPELESS == 0).count();
    becomes(&clients[0], (EVENTS as i64, 0, 0, dead as i64)).await;
    let record = record.lock();
    assert_eq!(record.done.len(), EVENTS);
    record.assert_in_order();
    let again = record.attempts.values().filter(|attempt| **attempt > 1).count();
    println!("{EVENTS} events, {} deliveries, {again} events more than once, {dead} given up", record.received);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_replaced_one_by_one_under_load_cost_no_attempt() {
    let mut chance = Chance::printed();
    let mut two = Two::start(v1::Consumer { lease: seconds(3600), ..work() }).await;
    let clients = vec![two.here.clone(), two.there.clone()];
    publish(&two.here, &mut chance, EVENTS).await;
    let record = Arc::<Mutex<Record>>::default();
    let workers = workers(&clients, &record, &mut chance, false);
    for round in 1..=2 {
        reaches(&record, &workers, round * EVENTS / 4).await;
        let server = if round == 1 { &mut two.first } else { &mut two.second };
        assert_eq!(server.terminate().await, 0);
        server.restart().await;
    }
    reaches(&record, &workers, EVENTS).await;
    workers.iter().for_each(tokio::task::JoinHandle::abort);
    let dead = (1..=EVENTS as i64).filter(|offset| offset % HOPELESS == 0).count();
    becomes(&two.here, (EVENTS as i64, 0, 0, dead as i64)).await;
    let record = record.lock();
    record.assert_in_order();
    assert_eq!(record.received, EVENTS, "something was delivered twice");
    assert!(record.attempts.values().all(|attempt| *attempt == 1));
}
