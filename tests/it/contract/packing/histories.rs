//! Random histories, against a plain model: a list of what was appended.

use eventflow::{
    domain::{Link, Offset, PendingEvent, ReadCap, TopicId},
    store::{PackRun, Packing, SharedStore},
};

use super::{
    super::fixtures::{append, at, batch, batch_of, bounds, identified, offsets, read, topic},
    NOW, Seen, all, check_chain, large, seen,
};
use crate::chance::Chance;

const STEPS: usize = 150;

struct History {
    store: SharedStore,
    topic: TopicId,
    chance: Chance,
    /// All that was ever appended.
    appended: Vec<Seen>,
    trimmed_to: Offset,
    /// Runs that packers found, and did not pack yet.
    found: Vec<(PackRun, Link)>,
    packed: usize,
    /// Hashes that somebody noted, with their offsets.
    noted: Vec<Link>,
}

/// Appends, packers that come late, trims and reads in any order.
pub(in super::super) async fn random_histories_keep_the_contract(store: SharedStore) {
    let topic = topic(&store).await.id;
    let chance = Chance::printed();
    let (appended, found, noted) = (Vec::new(), Vec::new(), Vec::new());
    let mut history = History { store, topic, chance, appended, trimmed_to: at(0), found, packed: 0, noted };
    for _ in 0..STEPS {
        history.step().await;
    }
    assert!(history.packed > 0, "nothing was packed");
    assert_eq!(all(&history.store, topic).await, history.kept());
}

impl History {
    fn upto(&mut self, end: usize) -> usize {
        self.chance.number(0..end as u64) as usize
    }

    fn kept(&self) -> Vec<Seen> {
        self.appended[self.trimmed_to.get() as usize..].to_vec()
    }

    async fn step(&mut self) {
        match self.upto(20) {
            0..8 => self.append().await,
            8..12 => self.find().await,
            12..17 => self.pack().await,
            17 => self.trim().await,
            _ => self.read().await,
        }
        let chain = check_chain(&self.store, self.topic).await;
        assert_eq!((chain.head, chain.trimmed_to), (at(self.appended.len() as i64), self.trimmed_to));
        // What was noted stands in the chain until it is trimmed.
        for noted in self.noted.iter().filter(|noted| noted.last > chain.trimmed_to) {
            assert!(chain.links.contains(noted), "{noted:?} is gone");
        }
    }

    async fn append(&mut self) {
        let (count, end) = (1 + self.upto(4), self.upto(3) == 0);
        let mut events: Vec<PendingEvent> = batch_of(count).events;
        if self.upto(4) == 0 {
            events.push(identified(&uuid::Uuid::now_v7().to_string()));
        }
        if end {
            events.push(large());
        }
        let batch = batch(events);
        let batch =
            eventflow::domain::AppendBatch { seen: super::super::fixtures::seen(self.appended.len() as i64), ..batch };
        let (first, recorded_time) = append(&self.store, self.topic, &batch).await;
        assert_eq!(first.get() as usize, self.appended.len() + 1);
        for (index, event) in batch.events.into_iter().enumerate() {
            let time = event.body.time.unwrap_or(recorded_time);
            self.appended.push((first.plus(index), recorded_time, time, event.body));
        }
    }

    async fn find(&mut self) {
        let Some(run) = self.store.find_run(self.topic, NOW).await.unwrap() else { return };
        let events = seen(run.segment.events());
        let first = run.segment.first().get() as usize;
        assert_eq!(events, self.appended[first - 1..first - 1 + events.len()]);
        let link = Link::of(run.log_id, run.chain.hash, run.segment.events()).unwrap();
        self.found.push((run, link));
    }

    /// Packs a run that was found some time ago: it succeeds if nothing was packed or trimmed since.
    async fn pack(&mut self) {
        if self.found.is_empty() {
            return;
        }
        let place = self.upto(self.found.len());
        let (run, link) = self.found.swap_remove(place);
        let linked_to = self.store.links(self.topic, Offset::MAX, 2).await.unwrap().unwrap().linked_to;
        let fits = run.chain.offset == linked_to && link.first == linked_to.max(self.trimmed_to).next();
        let expected = if fits { Packing::Packed } else { Packing::Moved };
        assert_eq!(self.store.pack(self.topic, &run, &link).await.unwrap(), expected, "{link:?}");
        if fits {
            self.packed += 1;
            self.noted.push(link);
        }
    }

    async fn trim(&mut self) {
        let up_to = self.trimmed_to.plus(self.upto(30));
        let bounds = self.store.trim(self.topic, up_to).await.unwrap().unwrap();
        assert!(bounds.trimmed_to >= self.trimmed_to && bounds.trimmed_to <= up_to);
        self.trimmed_to = bounds.trimmed_to;
    }

    async fn read(&mut self) {
        let head = bounds(&self.store, self.topic).await.head.get() as usize;
        let (after, events) = (self.upto(head + 1), 1 + self.upto(10));
        let found = read(&self.store, self.topic, after as i64, ReadCap { events, bytes: 1 << 30 }).await;
        let from = after.max(self.trimmed_to.get() as usize);
        let expected = self.appended[from.min(self.appended.len())..].iter().take(found.len()).cloned();
        assert_eq!(seen(&found), expected.collect::<Vec<_>>(), "{:?}", offsets(&found));
        assert!(found.len() >= events.min(self.appended.len() - from));
    }
}
