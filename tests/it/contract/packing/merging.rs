//! "Makes one stored run of a range": which, and that nobody notices.

use std::time::Duration;

use eventflow::{
    domain::{AppendBatch, EventBody, NewTopic, Payload, PendingEvent, ReadCap, Timestamp, TopicChange},
    store::{AppendError, Appended, PackRule, Packing, Removed, SharedStore},
};

use super::{
    super::fixtures::{
        ALL, NO_TOPIC, again, anonymous, append as append_unseen, at, batch, batch_of, body, bounds, identified,
        identity, moment, new_topic, offsets, read, seen as seen_head, topic, unique,
    },
    NOW, all, append, append_alone, check_chain, large, pack_all, ranges, run, seen,
};

/// Events of every kind: nothing of one is like the others, and some columns are of a few only.
fn kinds() -> Vec<Vec<PendingEvent>> {
    let event = |body: EventBody| PendingEvent { body, identity: None };
    let timed = EventBody { time: Timestamp::from_micros(1_700_000_000_000_001), ..body("timed") };
    let full = EventBody {
        key: "k".into(),
        source: "/elsewhere".into(),
        content_type: "".into(),
        attributes: [("a".into(), "ä".into()), ("b".into(), "".into())].into(),
        correlation_id: "c".into(),
        causation_id: "d".into(),
        ..body("full")
    };
    let data = |bytes: &'static [u8]| EventBody { payload: Payload::Data(bytes.into()), ..body("") };
    let empty = EventBody { r#type: "".into(), key: "".into(), id: "".into(), source: "".into(), ..data(b"") };
    vec![
        vec![event(body("plain"))],
        vec![event(timed.clone())],
        vec![event(full.clone()), event(body("beside it")), event(timed)],
        vec![event(data(b"\xff\0\\")), event(data(b""))],
        vec![event(empty), event(full)],
        vec![event(body("NULL")), event(body("{\"a\":\"\\u0000\"}"))],
        vec![event(body("")), identified("given")],
    ]
}

/// "Readers see the same events at the same offsets before and after", from wherever and however they read.
pub(in super::super) async fn nobody_notices(store: SharedStore) {
    let topic = topic(&store).await.id;
    for events in kinds() {
        append(&store, topic, batch(events)).await;
        moment().await;
    }
    append(&store, topic, batch(vec![large()])).await;
    let (before, head) = (all(&store, topic).await, bounds(&store, topic).await);
    let (run, link) = run(&store, topic).await;
    assert_eq!((run.segment.first(), run.segment.last(), run.segment.events().len()), (at(1), at(13), 13));
    assert!(run.bytes > 0 && run.runs > 1, "{} bytes of {} runs", run.bytes, run.runs);
    assert_eq!(store.pack(topic, &run, &link).await.unwrap(), Packing::Packed);

    assert_eq!(all(&store, topic).await, before);
    assert_eq!(bounds(&store, topic).await, head);
    for after in 0..before.len() {
        let events = read(&store, topic, after as i64, ReadCap { events: 1, bytes: 1 }).await;
        assert_eq!(seen(&events), before[after..after + events.len()], "after {after}");
        let back = store.read_back(topic, at(after as i64 + 1), ALL).await.unwrap().unwrap().segment.unwrap();
        assert_eq!(seen(back.events()), before[..=after], "back from {after}");
    }
    let picked = store.pick(topic, &[at(3), at(9), at(14)], 1 << 30).await.unwrap().unwrap();
    assert_eq!(seen(&picked.events), [before[2].clone(), before[8].clone(), before[13].clone()]);
    for (offset, recorded_time, ..) in &before {
        let first = before.iter().find(|other| other.1 == *recorded_time).unwrap().0;
        assert_eq!(store.before_time(topic, *recorded_time).await.unwrap(), Some(first.previous()), "at {offset}");
    }
    let known = store.find_ids(topic, &[identity("given").key]).await.unwrap();
    assert_eq!(known.iter().map(|id| (id.offset, id.recorded_time)).collect::<Vec<_>>(), [(at(13), before[12].1)]);
    assert_eq!(append(&store, topic, batch_of(2)).await, at(15));
}

/// "All are older than `rule.age`", "`None` … if another one may still be added to them".
pub(in super::super) async fn a_run_is_packed_when_nothing_can_join_it(store: SharedStore) {
    let topic = topic(&store).await.id;
    for _ in 0..3 {
        append(&store, topic, batch_of(2)).await;
    }
    let rule = |age, span| PackRule { age: Duration::from_millis(age), span: Duration::from_millis(span) };
    assert!(store.find_run(topic, NOW).await.unwrap().is_none(), "another one may join them");
    assert!(store.find_run(topic, rule(3_600_000, 0)).await.unwrap().is_none(), "they are young");
    tokio::time::sleep(Duration::from_millis(100)).await;
    // They are as old as the rule asks, and what comes later would be too far away.
    let (first, last) = (at(1), at(6));
    let found = store.find_run(topic, rule(0, 50)).await.unwrap().expect("they are far enough from what may come");
    assert_eq!(found.segment.first(), first);
    append(&store, topic, batch(vec![large()])).await;
    let found = store.find_run(topic, NOW).await.unwrap().expect("nothing can join them any more");
    assert_eq!((found.segment.first(), found.segment.last()), (first, last));
    assert!(store.find_run(topic, rule(3_600_000, 3_600_000)).await.unwrap().is_none(), "they are young");
}

/// "From the first to the last at most `rule.span` has passed, nor a tenth of the topic's retention by age."
pub(in super::super) async fn a_run_does_not_span_too_much_time(store: SharedStore) {
    let retention = Some(Duration::from_secs(3));
    let short = store.create_topic(&NewTopic { retention, ..new_topic(&unique("short")) }).await.unwrap().id;
    let long = topic(&store).await.id;
    for topic in [short, long] {
        for _ in 0..2 {
            append(&store, topic, batch_of(1)).await;
            tokio::time::sleep(Duration::from_millis(350)).await;
        }
        append(&store, topic, batch(vec![large()])).await;
    }
    let links = |links: Vec<(eventflow::domain::Link, usize)>| ranges(links.iter().map(|(link, _)| link));
    assert_eq!(links(pack_all(&store, short, NOW).await), [(1, 1), (2, 2), (3, 3)]);
    let rule = PackRule { span: Duration::from_millis(300), ..NOW };
    let found = store.find_run(long, rule).await.unwrap().unwrap();
    assert_eq!((found.segment.first(), found.segment.last()), (at(1), at(1)));
    assert_eq!(links(pack_all(&store, long, NOW).await), [(1, 2), (3, 3)]);
}

/// "Together they have at most 4,096 events and 1 MiB."
pub(in super::super) async fn runs_are_full(store: SharedStore) {
    let topic = topic(&store).await.id;
    for _ in 0..10 {
        append(&store, topic, batch_of(500)).await;
    }
    let text = "x".repeat(200_000);
    for _ in 0..7 {
        append(&store, topic, batch(vec![anonymous(&text)])).await;
    }
    append(&store, topic, batch(vec![large()])).await;
    append(&store, topic, batch(vec![large(), anonymous("with it")])).await;
    let before = all(&store, topic).await;
    let packed = pack_all(&store, topic, NOW).await;
    let sizes: Vec<_> = packed.iter().map(|(link, _)| link.last.since(link.first.previous())).collect();
    assert!(sizes[0] >= 3600 && sizes.iter().all(|size| *size <= 4096), "{sizes:?}");
    for (link, _) in &packed {
        let of = |event: &&super::Seen| link.first <= event.0 && event.0 <= link.last;
        let bytes: usize = before.iter().filter(of).map(|event| event.3.size()).sum();
        assert!(bytes <= 1 << 20, "{bytes} bytes in {:?}", ranges([link]));
    }
    assert!(packed.iter().any(|(link, _)| (link.first, link.last) == (at(5008), at(5008))), "{:?}", packed);
    assert_eq!(all(&store, topic).await, before);
    check_chain(&store, topic).await;
}

/// "If everything is as it was found: else nothing happens."
pub(in super::super) async fn what_changed_meanwhile_is_not_packed(store: SharedStore) {
    let topic = topic(&store).await;
    append_alone(&store, topic.id, 10).await;
    let (first, link) = run(&store, topic.id).await;
    let (again, _) = run(&store, topic.id).await;
    assert_eq!(store.pack(topic.id, &first, &link).await.unwrap(), Packing::Packed);
    // Somebody else was quicker.
    assert_eq!(store.pack(topic.id, &again, &link).await.unwrap(), Packing::Moved);
    // It was trimmed.
    let (second, link) = run(&store, topic.id).await;
    store.trim(topic.id, at(11)).await.unwrap();
    assert_eq!(store.pack(topic.id, &second, &link).await.unwrap(), Packing::Moved);
    append_alone(&store, topic.id, 5).await;
    let (third, link) = run(&store, topic.id).await;
    let before = all(&store, topic.id).await;
    // It is not what was found.
    for (first, last) in [(12, 15), (13, 16), (12, 17), (11, 16)] {
        let other = eventflow::domain::Link { first: at(first), last: at(last), ..link };
        assert_eq!(store.pack(topic.id, &third, &other).await.unwrap(), Packing::Moved, "{first} to {last}");
    }
    assert_eq!(all(&store, topic.id).await, before);
    assert_eq!(check_chain(&store, topic.id).await.linked_to, at(10));
    store.delete_topic(&topic.settings.name).await.unwrap();
    assert_eq!(store.pack(topic.id, &third, &link).await.unwrap(), Packing::Moved);
    assert!(store.find_run(topic.id, NOW).await.unwrap().is_none());
    assert_eq!(store.pack(NO_TOPIC, &third, &link).await.unwrap(), Packing::Moved);
    assert!(store.find_run(NO_TOPIC, NOW).await.unwrap().is_none());
    assert!(store.links(NO_TOPIC, at(0), 10).await.unwrap().is_none());
}

/// "If something after `batch.seen.head` was packed, and not every event has an identity": `Forgotten`.
pub(in super::super) async fn an_append_that_was_packed_is_not_repeated(store: SharedStore) {
    let topic = topic(&store).await.id;
    let lost = batch_of(2);
    let named = batch(vec![identified("a"), identified("b")]);
    for batch in [&lost, &named] {
        append_unseen(&store, topic, batch).await;
    }
    let late = AppendBatch { seen: seen_head(5), ..batch(vec![anonymous("late")]) };
    append_unseen(&store, topic, &batch(vec![large()])).await;
    append_unseen(&store, topic, &late).await;
    pack_all(&store, topic, NOW).await;
    let before = bounds(&store, topic).await;
    let refused = store.append(topic, &again(&lost)).await;
    assert!(matches!(refused, Err(AppendError::Forgotten)), "{refused:?}");
    // Ids are known for as long as their events are kept, and what was not packed is found.
    let known = store.append(topic, &again(&named)).await.unwrap();
    assert!(matches!(&known, Appended::Known(ids) if ids.len() == 2), "{known:?}");
    assert_eq!(append_unseen(&store, topic, &again(&late)).await.0, at(6));
    assert_eq!(bounds(&store, topic).await, before);
    assert_eq!(append_unseen(&store, topic, &batch(vec![identified("c")])).await.0, at(7));
    assert_eq!(append_unseen(&store, topic, &AppendBatch { seen: seen_head(5), ..batch_of(1) }).await.0, at(8));
}

/// "By size it goes when the runs behind it have at least as many bytes as are to be kept", in whole runs.
pub(in super::super) async fn retention_keeps_as_much_of_what_was_packed(store: SharedStore) {
    let topic = topic(&store).await;
    // So many that sizes are marked in the middle of what will be packed.
    for _ in 0..1500 {
        append(&store, topic.id, batch(vec![anonymous(&"x".repeat(100))])).await;
    }
    let keep = async |bytes| {
        let change = TopicChange { retention_bytes: Some(bytes), ..TopicChange::default() };
        store.update_topic(&topic.settings.name, &change).await.unwrap().unwrap();
        let mut rest = Some(at(0));
        while let Some(after) = rest {
            rest = store.retain(topic.id, after).await.unwrap().more;
        }
    };
    keep(u64::MAX >> 1).await;
    append(&store, topic.id, batch(vec![large()])).await;
    append(&store, topic.id, batch_of(700)).await;
    append(&store, topic.id, batch(vec![large()])).await;
    keep(u64::MAX >> 1).await;
    pack_all(&store, topic.id, NOW).await;
    let links = check_chain(&store, topic.id).await.links;
    let bytes: u64 = all(&store, topic.id).await.iter().map(|event| event.3.size() as u64).sum();
    // What Postgres counts is what the server counts.
    keep(if store.kind() == "postgres" { bytes } else { bytes * 2 }).await;
    assert_eq!(bounds(&store, topic.id).await.trimmed_to, at(0), "nothing goes that is to be kept");
    assert_eq!(store.retain(topic.id, at(0)).await.unwrap(), Removed::default());
    keep(bytes / 3).await;
    let after = bounds(&store, topic.id).await.trimmed_to;
    assert!(after > at(0) && links.iter().any(|link| link.last == after), "{after} is in the middle of a link");
    check_chain(&store, topic.id).await;
    keep(1).await;
    assert_eq!(offsets(&read(&store, topic.id, 0, ALL).await).len(), 1);
}
