//! That what was acknowledged is what is there.

use tokio::task::JoinSet;

use super::{
    figures::{Run, Verified},
    lane::Acknowledged,
    reader::{End, Reader},
};
use crate::cli::failure::Failure;

/// Topics that are read at once.
const READERS: usize = 8;

/// That each offset from 1 on was acknowledged once, and that the topics hold the events and no others; says what
/// they hold.
pub(super) async fn read_back(
    run: &Run<'_>,
    topics: &[String],
    acknowledged: &Acknowledged,
    expected: Verified,
) -> Result<Verified, Failure> {
    let counts = gapless(topics.len(), acknowledged)?;
    let wanted: Vec<_> = topics.iter().cloned().zip(counts).collect();
    let mut readers = JoinSet::new();
    for part in wanted.chunks(wanted.len().div_ceil(READERS).max(1)) {
        let (part, channel, caller) = (part.to_vec(), run.target.channel().await?, run.target.caller());
        readers.spawn(async move {
            let mut found = Verified::default();
            for (topic, count) in part {
                // Without an end at the head, one event too many would not be seen.
                let reader = Reader::open(channel.clone(), &caller, &topic, End::Head).await?;
                let there = reader.read(u64::MAX, |_| {}).await?;
                if there.events != count {
                    let there = there.events;
                    return Err(Failure::Local(format!(
                        "{count} events of {topic} were acknowledged, {there} are there"
                    )));
                }
                found = found.plus(there);
            }
            Ok(found)
        });
    }
    let mut found = Verified::default();
    for part in joined(&mut readers).await? {
        found = found.plus(part);
    }
    same(found, expected)
}

/// That what came is what was to come.
pub(super) fn same(found: Verified, expected: Verified) -> Result<Verified, Failure> {
    if found != expected {
        return Err(Failure::Local(format!(
            "{} of {} events came, with the checksum {:016x} for {:016x}",
            found.events, expected.events, found.checksum, expected.checksum
        )));
    }
    Ok(found)
}

/// What all tasks return. The first failure ends the others.
pub(super) async fn joined<T: 'static>(tasks: &mut JoinSet<Result<T, Failure>>) -> Result<Vec<T>, Failure> {
    let mut results = Vec::with_capacity(tasks.len());
    while let Some(result) = tasks.join_next().await {
        results.push(result.map_err(|error| Failure::Local(error.to_string()))??);
    }
    Ok(results)
}

/// How many events each topic has, if their offsets are 1, 2, 3, … without a gap.
fn gapless(topics: usize, acknowledged: &Acknowledged) -> Result<Vec<u64>, Failure> {
    let mut counts = vec![0_u64; topics];
    for (topic, _) in acknowledged {
        if let Some(count) = counts.get_mut(*topic) {
            *count += 1;
        }
    }
    let mut seen: Vec<Vec<bool>> = counts.iter().map(|count| vec![false; *count as usize]).collect();
    for (topic, offset) in acknowledged {
        let place = usize::try_from(offset - 1).ok();
        let flag = place.and_then(|place| seen.get_mut(*topic)?.get_mut(place));
        match flag {
            Some(flag) if !*flag => *flag = true,
            _ => return Err(Failure::Local(format!("offset {offset} was acknowledged twice, or beyond a gap"))),
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::gapless;

    #[test]
    fn offsets_are_distinct_and_without_a_gap_in_each_topic() {
        assert_eq!(gapless(2, &vec![(1, 1), (0, 2), (0, 1)]).ok(), Some(vec![2, 1]));
        for bad in [vec![(0, 1), (0, 1)], vec![(0, 1), (0, 3)], vec![(0, 0)], vec![(0, -1)], vec![(0, 2)]] {
            assert!(gapless(1, &bad).is_err(), "{bad:?}");
        }
    }
}
