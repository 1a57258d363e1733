//! Groups of requests, without a store.

use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Group, Job, Refused};
use crate::{
    broker::{
        chain::Chain,
        publish::{Published, Refusal},
    },
    domain::{ContentHash, EventBody, IdKey, Identity, KnownId, Offset, Payload, PendingEvent, Timestamp},
};

type Reply = oneshot::Receiver<Result<Vec<Published>, Refused>>;

fn event(id: &str, content: u128) -> PendingEvent {
    let body = EventBody {
        r#type: "t".into(),
        key: Default::default(),
        id: id.into(),
        source: "/s".into(),
        time: None,
        content_type: "text/plain".into(),
        attributes: Default::default(),
        correlation_id: Default::default(),
        causation_id: Default::default(),
        payload: Payload::Text(Default::default()),
        producer: "users/ada".into(),
    };
    let identity = Identity { key: IdKey::of("/s", id), content: ContentHash(Uuid::from_u128(content)) };
    PendingEvent { body, identity: (content > 0).then_some(identity) }
}

fn job(events: &[(&str, u128)]) -> (Job, Reply) {
    let (job, answer) = Job::new(events.iter().map(|(id, content)| event(id, *content)).collect(), None, None);
    (job, answer.0)
}

fn offsets(mut reply: Reply) -> Vec<(i64, bool)> {
    let published = reply.try_recv().unwrap().unwrap();
    published.iter().map(|p| (p.offset.get(), p.duplicate)).collect()
}

fn refusal(mut reply: Reply) -> Refusal {
    reply.try_recv().unwrap().unwrap_err().refusal
}

fn known(id: &str, content: u128, offset: i64) -> KnownId {
    let content = ContentHash(Uuid::from_u128(content));
    KnownId { key: IdKey::of("/s", id), offset: at(offset), content, recorded_time: time() }
}

fn time() -> Timestamp {
    Timestamp::from_micros(1).unwrap()
}

fn at(offset: i64) -> Offset {
    Offset::new(offset).unwrap()
}

#[test]
fn ids_repeated_in_a_group_are_stored_once() {
    let (first, first_reply) = job(&[("a", 1), ("", 0), ("a", 1)]);
    let (second, second_reply) = job(&[("b", 2), ("a", 1)]);
    let mut group = Group::new(vec![first, second]);
    let batch = group.take_new();
    assert_eq!(batch.len(), 3);
    group.answer_stored(&batch, at(5), time());
    assert_eq!(offsets(first_reply), [(5, false), (6, false), (5, true)]);
    assert_eq!(offsets(second_reply), [(7, false), (5, true)]);
}

#[test]
fn an_id_with_other_content_refuses_its_request_alone() {
    let (good, good_reply) = job(&[("a", 1)]);
    let (bad, bad_reply) = job(&[("new", 9), ("b", 2), ("b", 3)]);
    let (later, later_reply) = job(&[("new", 8)]);
    let mut group = Group::new(vec![good, bad, later]);
    let batch = group.take_new();
    assert_eq!(batch.len(), 2, "the refused request's other events were stored");
    group.answer_stored(&batch, at(1), time());
    assert!(matches!(refusal(bad_reply), Refusal::IdReused { index: 2 }));
    assert_eq!(offsets(good_reply), [(1, false)]);
    assert_eq!(offsets(later_reply), [(2, false)], "an id of a refused request is free");
}

#[test]
fn a_contradiction_between_requests_waits_for_what_becomes_of_the_first() {
    let (bad, bad_reply) = job(&[("x", 1), ("a", 2)]);
    let (good, good_reply) = job(&[("a", 1)]);
    let (later, later_reply) = job(&[("y", 1)]);
    let (worse, worse_reply) = job(&[("y", 2)]);
    let mut group = Group::new(vec![bad, good, later, worse]);
    let batch = group.take_new();
    assert_eq!(batch.iter().map(|e| &*e.body.id).collect::<Vec<_>>(), ["x", "a"], "later ones keep their order");
    group.put_back(batch);
    group.learn(vec![known("a", 1, 3)]);
    let batch = group.take_new();
    group.answer_known();
    assert!(matches!(refusal(bad_reply), Refusal::IdReused { index: 1 }));
    assert_eq!(offsets(good_reply), [(3, true)], "a bad request before it failed a good one");
    group.answer_stored(&batch, at(9), time());
    assert_eq!(offsets(later_reply), [(9, false)]);
    let batch = group.take_new();
    assert_eq!(batch.len(), 1, "the store decides about what is left");
    group.put_back(batch);
    group.learn(vec![known("y", 1, 9)]);
    assert!(group.take_new().is_empty());
    assert!(matches!(refusal(worse_reply), Refusal::IdReused { index: 0 }));
}

#[test]
fn what_followed_a_failed_request_of_its_stream_is_refused_before_it_is_stored() {
    let chain = Chain::new();
    let [(mut first, mut first_reply), (mut second, mut second_reply), (other, other_reply)] =
        [job(&[("a", 1)]), job(&[("b", 2)]), job(&[("c", 3)])];
    first.link = Some(chain.link());
    let mut group = Group::new(vec![first]);
    assert_eq!(group.take_new().len(), 1);
    second.link = Some(chain.link());
    let mut next = Group::new(vec![second, other]);
    group.refuse(&Refusal::Overloaded { retry_in: Default::default() });
    let batch = next.take_new();
    assert_eq!(batch.iter().map(|e| &*e.body.id).collect::<Vec<_>>(), ["c"], "others are not held up");
    next.answer_stored(&batch, at(1), time());
    assert!(matches!(
        first_reply.try_recv().unwrap().map_err(|refused| refused.refusal),
        Err(Refusal::Overloaded { .. })
    ));
    assert!(matches!(
        second_reply.try_recv().unwrap().map_err(|refused| refused.refusal),
        Err(Refusal::PredecessorFailed)
    ));
    assert_eq!(offsets(other_reply), [(1, false)]);
}

#[test]
fn known_ids_are_answered_and_the_rest_is_tried_again() {
    let (old, old_reply) = job(&[("a", 1)]);
    let (mixed, mixed_reply) = job(&[("b", 2), ("a", 1), ("", 0)]);
    let (reused, reused_reply) = job(&[("a", 3)]);
    let mut group = Group::new(vec![old, mixed, reused]);
    let batch = group.take_new();
    group.put_back(batch);
    group.learn(vec![known("a", 1, 3)]);
    let batch = group.take_new();
    assert_eq!(batch.iter().map(|e| &*e.body.id).collect::<Vec<_>>(), ["b", ""]);
    group.answer_known();
    assert_eq!(offsets(old_reply), [(3, true)]);
    group.answer_stored(&batch, at(9), time());
    assert_eq!(offsets(mixed_reply), [(9, false), (3, true), (10, false)]);
    assert!(matches!(refusal(reused_reply), Refusal::IdReused { index: 0 }));
}

#[test]
fn a_request_whose_topic_is_gone_gets_its_events_back_whole() {
    let (first, mut first_reply) = job(&[("a", 1), ("", 0), ("a", 1)]);
    let (second, mut second_reply) = job(&[("b", 2), ("old", 1)]);
    let mut group = Group::new(vec![first, second]);
    group.learn(vec![known("old", 1, 3)]);
    let batch = group.take_new();
    group.put_back(batch);
    group.refuse(&Refusal::TopicNotFound);
    for (reply, ids) in [(&mut first_reply, vec!["a", "", "a"]), (&mut second_reply, vec!["b", "old"])] {
        let refused = reply.try_recv().unwrap().unwrap_err();
        assert!(matches!(refused.refusal, Refusal::TopicNotFound));
        assert_eq!(refused.events.iter().map(|event| &*event.body.id).collect::<Vec<_>>(), ids);
    }
}
