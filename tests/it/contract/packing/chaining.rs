//! Links: a chain over all that was packed, which trimming shortens.

use std::time::Duration;

use eventflow::{
    domain::{ChainHash, Link, Offset, TopicId},
    store::{Packing, SharedStore},
};
use tokio::task::JoinSet;

use super::{
    super::fixtures::{ALL, NO_TOPIC, at, batch_of, bounds, offsets, read, topic},
    NOW, append, append_alone, chain, check_chain, pack_all, ranges, run,
};

/// "Topics with events that have no link and are older than `age`, after `after`, in the order of ids."
pub(in super::super) async fn topics_with_something_to_pack_are_listed(store: SharedStore) {
    let topics = [topic(&store).await, topic(&store).await, topic(&store).await];
    let [first, empty, third] = topics.each_ref().map(|topic| topic.id);
    for id in [first, third] {
        append_alone(&store, id, 2).await;
    }
    let list = async |after, age, limit| store.unpacked_topics(after, age, limit).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(list(TopicId(first.0 - 1), Duration::ZERO, 100).await, [first, third]);
    assert_eq!(list(TopicId(first.0 - 1), Duration::ZERO, 1).await, [first]);
    assert_eq!(list(first, Duration::ZERO, 100).await, [third]);
    assert_eq!(list(TopicId(first.0 - 1), Duration::from_secs(3600), 100).await, []);
    pack_all(&store, first, NOW).await;
    assert_eq!(list(TopicId(first.0 - 1), Duration::ZERO, 100).await, [third], "{empty} is empty");
    store.trim(third, at(3)).await.unwrap();
    assert_eq!(list(TopicId(first.0 - 1), Duration::ZERO, 100).await, [], "everything was trimmed");
    append(&store, third, batch_of(1)).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(list(first, Duration::ZERO, 100).await, [third]);
    store.delete_topic(&topics[2].settings.name).await.unwrap();
    assert_eq!(list(first, Duration::ZERO, 100).await, []);
}

/// "The links of a topic after the offset `after`, and before them the one behind which they are chained."
pub(in super::super) async fn links_come_in_pages(store: SharedStore) {
    let topic = topic(&store).await;
    let none = chain(&store, topic.id).await;
    assert_eq!((none.links, none.anchor, none.linked_to, none.log_id), (vec![], None, at(0), topic.log_id));
    for count in [3, 1, 2] {
        append_alone(&store, topic.id, count).await;
    }
    append(&store, topic.id, batch_of(4)).await;
    let packed: Vec<_> = pack_all(&store, topic.id, NOW).await.into_iter().map(|(link, _)| link).collect();
    assert_eq!(ranges(&packed), [(1, 3), (4, 4), (5, 5), (6, 6), (7, 8), (9, 9)]);
    let found = check_chain(&store, topic.id).await;
    assert_eq!((&found.links, found.linked_to, found.head), (&packed, at(9), at(13)));
    assert!(packed.iter().all(|link| link.log_id == topic.log_id && link.hash != ChainHash::NONE));
    let page = async |after, limit| store.links(topic.id, at(after), limit).await.unwrap().unwrap();
    let first = page(0, 2).await;
    assert_eq!((first.anchor, ranges(&first.links), first.linked_to), (None, vec![(1, 3), (4, 4)], at(9)));
    for after in [4, 3] {
        let next = page(after, 3).await;
        let place = packed.iter().position(|link| link.last == at(after)).unwrap();
        assert_eq!((next.anchor, &next.links[..]), (Some(packed[place]), &packed[place + 1..place + 3]));
    }
    // In the middle of a link, and behind the last one.
    assert_eq!(page(7, 100).await.anchor, Some(packed[3]));
    assert_eq!((page(9, 100).await.anchor, page(9, 100).await.links), (Some(packed[5]), vec![]));
    assert_eq!(page(1000, 2).await.anchor, Some(packed[5]));
}

/// "Trimming removes the links of what it removes, but for that one."
pub(in super::super) async fn trimming_leaves_the_last_link_it_removes(store: SharedStore) {
    let topic = topic(&store).await.id;
    for _ in 0..4 {
        append_alone(&store, topic, 9).await;
    }
    let packed: Vec<_> = pack_all(&store, topic, NOW).await.into_iter().map(|(link, _)| link).collect();
    let trim = async |up_to| {
        let preview = store.trim_preview(topic, at(up_to)).await.unwrap().unwrap();
        let trimmed = store.trim(topic, at(up_to)).await.unwrap().unwrap();
        assert_eq!(preview, trimmed);
        trimmed.trimmed_to
    };
    // In whole stored runs: what shares a link goes together.
    assert_eq!(trim(5).await, at(0));
    assert_eq!(chain(&store, topic).await.anchor, None);
    assert_eq!(trim(15).await, at(10));
    assert_eq!(offsets(&read(&store, topic, 0, ALL).await)[0], 11);
    let left = check_chain(&store, topic).await;
    assert_eq!((left.anchor, &left.links[..]), (Some(packed[1]), &packed[2..]));
    assert_eq!(trim(19).await, at(19));
    assert_eq!(check_chain(&store, topic).await.anchor, Some(packed[2]));
    assert_eq!(trim(1000).await, at(40));
    let left = check_chain(&store, topic).await;
    assert_eq!((left.anchor, left.links, left.linked_to), (packed.last().copied(), vec![], at(40)));
    // The chain goes on behind it.
    append_alone(&store, topic, 1).await;
    let (next, link) = run(&store, topic).await;
    assert_eq!((next.chain.offset, next.chain.hash), (at(40), packed.last().unwrap().hash));
    assert_eq!(store.pack(topic, &next, &link).await.unwrap(), Packing::Packed);
    assert_eq!(check_chain(&store, topic).await.anchor, packed.last().copied());
    // Events that were trimmed before they were linked are left out.
    store.trim(topic, at(42)).await.unwrap();
    append_alone(&store, topic, 2).await;
    pack_all(&store, topic, NOW).await;
    let left = check_chain(&store, topic).await;
    assert_eq!((left.anchor, ranges(&left.links)), (Some(link), vec![(43, 44), (45, 45)]));
}

/// Of packers at the same time each range is packed by one, while others append and trim.
pub(in super::super) async fn of_many_packers_one_packs_a_range(store: SharedStore) {
    let topic = topic(&store).await.id;
    append_alone(&store, topic, 60).await;
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let store = store.clone();
        tasks.spawn(async move {
            let mut packed = Vec::new();
            for _ in 0..60 {
                let Some(run) = store.find_run(topic, NOW).await.unwrap() else {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                };
                let link = Link::of(run.log_id, run.chain.hash, run.segment.events()).unwrap();
                if store.pack(topic, &run, &link).await.unwrap() == Packing::Packed {
                    packed.push(link);
                }
            }
            packed
        });
    }
    for round in 0..20 {
        append_alone(&store, topic, 5).await;
        if round % 5 == 4 {
            let head = bounds(&store, topic).await.head;
            store.trim(topic, Offset::new(head.get() - 40).unwrap()).await.unwrap();
        }
    }
    let mut packed: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    packed.extend(pack_all(&store, topic, NOW).await.into_iter().map(|(link, _)| link));
    packed.sort_by_key(|link| link.first);
    let overlap = packed.windows(2).find(|pair| pair[1].first <= pair[0].last);
    assert!(overlap.is_none(), "packed twice: {overlap:?}");
    let left = check_chain(&store, topic).await;
    assert!(left.links.iter().all(|link| packed.contains(link)));
    assert_eq!(left.head, at(61 + 20 * 6));
    assert_eq!(offsets(&read(&store, topic, 0, ALL).await).last(), Some(&left.head.get()));
}

/// Nothing is left of a deleted topic, its links among that.
pub(in super::super) async fn a_deleted_topic_leaves_no_links(store: SharedStore) {
    let topic = topic(&store).await;
    append_alone(&store, topic.id, 20).await;
    pack_all(&store, topic.id, NOW).await;
    append_alone(&store, topic.id, 3).await;
    store.delete_topic(&topic.settings.name).await.unwrap();
    assert!(store.links(topic.id, at(0), 100).await.unwrap().is_none());
    let mut rest = Some(at(0));
    while let Some(after) = rest {
        rest = store.remove_deleted(topic.id, after).await.unwrap().more;
    }
    assert!(!store.deleted_topics(100_000).await.unwrap().contains(&topic.id));
    assert!(store.links(NO_TOPIC, at(0), 100).await.unwrap().is_none());
}
