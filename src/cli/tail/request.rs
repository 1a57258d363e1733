//! What was asked for, and the request for what is left of it.

use std::time::Duration;

use super::{StartArgs, StopArgs, TailArgs, place::Place};
use crate::{
    cli::{filter, moment::proto_duration},
    proto::v1::{
        self,
        subscribe_request::{From, Start},
    },
};

/// Events of a queue that are printed without being acknowledged, at most: as many as a queue leases at once.
const LOOKED_AT: i32 = 100_000;

/// What is read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    /// A topic, from this start.
    Topic {
        /// Its name.
        name: String,
        /// Where reading begins the first time.
        start: Start,
        /// Which events are wanted.
        filter: Option<v1::Filter>,
    },
    /// A consumer, from where it left off.
    Consumer {
        /// Its name.
        name: String,
        /// End the stream that has it.
        take_over: bool,
        /// Store what was printed.
        commit: bool,
        /// It shares its events with other streams, each settled by itself.
        queue: bool,
    },
}

/// When reading ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Never.
    Never,
    /// At the head of the first stream.
    Head,
    /// After this offset.
    At(i64),
}

/// What was asked for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// What is read.
    pub(super) source: Source,
    /// When reading ends.
    pub(super) stop: Stop,
    /// How many events are printed at most.
    pub(super) count: Option<u64>,
    /// The interval to ask for.
    pub(super) heartbeat: Duration,
    skip_trimmed: bool,
}

impl Wanted {
    /// From the command line.
    pub(super) fn from_args(args: TailArgs) -> Self {
        let TailArgs { topic, consumer, start, stop, count, filters, skip_trimmed, heartbeat, no_commit, take_over } =
            args;
        let source = match consumer {
            Some(name) => Source::Consumer { name, take_over, commit: !no_commit, queue: false },
            None => Source::Topic {
                name: topic.unwrap_or_default(),
                start: first_start(start),
                filter: filter::filter(&filters),
            },
        };
        let StopArgs { until_head, until } = stop;
        let stop = match (until_head, until) {
            (true, _) => Stop::Head,
            (false, Some(offset)) => Stop::At(offset),
            (false, None) => Stop::Never,
        };
        Self { source, stop, count, heartbeat, skip_trimmed }
    }

    /// The consumer whose offset is to be stored.
    pub(super) fn committing(&self) -> Option<&str> {
        match &self.source {
            Source::Consumer { name, commit: true, queue: false, .. } => Some(name),
            Source::Consumer { .. } | Source::Topic { .. } => None,
        }
    }

    /// The consumer whose deliveries are to be settled, and whether what was printed of them is done.
    pub(super) fn settling(&self) -> Option<(&str, bool)> {
        match &self.source {
            Source::Consumer { name, commit, queue: true, .. } => Some((name, *commit)),
            Source::Consumer { queue: false, .. } | Source::Topic { .. } => None,
        }
    }

    /// Whether everything is given back at the end.
    pub(super) fn only_looks(&self) -> bool {
        matches!(self.settling(), Some((_, false)))
    }

    /// The request for what is left after this place.
    pub(super) fn request(&self, place: &Place) -> v1::SubscribeRequest {
        let mut request = v1::SubscribeRequest {
            heartbeat_interval: Some(proto_duration(self.heartbeat)),
            skip_trimmed: self.skip_trimmed,
            ..v1::SubscribeRequest::default()
        };
        match &self.source {
            Source::Topic { name, start, filter } => {
                request.from = Some(From::Topic(name.clone()));
                request.filter.clone_from(filter);
                request.start = Some(place.done().map_or(*start, Start::AfterOffset));
                request.log_id = place.log_id().to_owned();
            }
            Source::Consumer { name, take_over, commit, queue } => {
                request.from = Some(From::Consumer(name.clone()));
                if *queue {
                    // What is not acknowledged makes no room for what follows.
                    let most = if *commit { 100 } else { LOOKED_AT };
                    request.max_in_flight = self.count.map_or(most, |count| count.min(most as u64) as i32);
                    request.take_over = *take_over;
                    return self.with_stop(request);
                }
                // Taking over again after being taken over would be a fight; only the first stream does it.
                request.take_over = *take_over && place.done().is_none();
                request.wait = !request.take_over;
            }
        }
        self.with_stop(request)
    }

    fn with_stop(&self, mut request: v1::SubscribeRequest) -> v1::SubscribeRequest {
        match self.stop {
            Stop::Never => request.set_stop_at(v1::StopAt::Never),
            Stop::Head => request.set_stop_at(v1::StopAt::Head),
            Stop::At(offset) => {
                request.set_stop_at(v1::StopAt::Offset);
                request.stop_offset = offset;
            }
        }
        request
    }
}

fn first_start(args: StartArgs) -> Start {
    let StartArgs { from, after, from_time, earliest } = args;
    let at = if earliest { v1::StartAt::Earliest } else { v1::StartAt::Head };
    from.map(|offset| offset - 1)
        .or(after)
        .map(Start::AfterOffset)
        .or(from_time.map(Start::StartTime))
        .unwrap_or(Start::StartAt(at.into()))
}

#[cfg(test)]
mod tests {
    use super::{Place, Start, Stop, Wanted, v1};
    use crate::cli::tail::tests::parse;

    fn wanted(args: &[&str]) -> Wanted {
        Wanted::from_args(parse(args).expect("valid"))
    }

    fn start(args: &[&str]) -> Option<Start> {
        wanted(args).request(&Place::default()).start
    }

    #[test]
    fn from_names_the_first_event_and_after_the_one_before_it() {
        assert_eq!(start(&["orders", "--from", "5"]), Some(Start::AfterOffset(4)));
        assert_eq!(start(&["orders", "--after", "5"]), Some(Start::AfterOffset(5)));
        assert_eq!(start(&["orders", "--earliest"]), Some(Start::StartAt(v1::StartAt::Earliest.into())));
        assert_eq!(start(&["orders"]), Some(Start::StartAt(v1::StartAt::Head.into())));
        assert_eq!(start(&["--consumer", "billing"]), None);
    }

    #[test]
    fn a_topic_is_resumed_after_what_was_printed() {
        let mut place = Place::default();
        let position = v1::Position { offset: 3, ..v1::Position::default() };
        place.start(&v1::Started { log_id: "l".to_owned(), position: Some(position), ..v1::Started::default() });
        place.advance(8);
        let request = wanted(&["orders", "--earliest"]).request(&place);
        assert_eq!((request.start, request.log_id.as_str()), (Some(Start::AfterOffset(8)), "l"));
    }

    #[test]
    fn a_consumer_is_waited_for_and_taken_over_only_once() {
        assert!(wanted(&["--consumer", "billing"]).request(&Place::default()).wait);
        let wanted = wanted(&["--consumer", "billing", "--take-over"]);
        let mut place = Place::default();
        assert!(wanted.request(&place).take_over);
        place.start(&v1::Started::default());
        let request = wanted.request(&place);
        assert!(request.wait && !request.take_over);
    }

    #[test]
    fn the_end_is_told_to_the_server() {
        assert_eq!(wanted(&["orders", "--until-head"]).stop, Stop::Head);
        let request = wanted(&["orders", "--until", "9"]).request(&Place::default());
        assert_eq!((request.stop_at(), request.stop_offset), (v1::StopAt::Offset, 9));
    }
}
