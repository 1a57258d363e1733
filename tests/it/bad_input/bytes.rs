//! Bodies that are not the message that the RPC takes.

use bytes::Bytes;
use eventflow::proto::v1;
use prost::Message;
use tonic::Code;

use super::{
    valid,
    world::{TOPIC, World},
};
use crate::{
    api,
    client::{assert_refused, event},
    harness::backend::Backend,
    raw::{self, frame, frame_with},
};

/// The largest request, from DESIGN: 4 MiB.
const REQUEST: usize = 4 << 20;

/// Whether it takes any number of messages, each around a request.
fn wraps(path: &str) -> bool {
    path.ends_with("/PublishStream")
}

/// A publish request of exactly so many bytes.
fn request_of(bytes: usize) -> Vec<u8> {
    let mut request = v1::PublishRequest { topic: TOPIC.into(), ..Default::default() };
    request.events = vec![event(&"x".repeat(1_000_000)); bytes / 1_000_100];
    let rest = bytes - request.encoded_len();
    // The last event's text has a length of 2 or 3 bytes, as has the event: find the one that fits.
    (rest.saturating_sub(32)..rest)
        .find_map(|text| {
            let mut whole = request.clone();
            whole.events.push(event(&"x".repeat(text)));
            (whole.encoded_len() == bytes).then(|| whole.encode_to_vec())
        })
        .expect("a request of every length can be made")
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_message_are_malformed_for_every_rpc() {
    let world = World::on(Backend::Sqlite).await;
    let (head, names) = (world.head().await, world.names().await);
    for valid::Valid { path, bytes } in valid::all() {
        // Login and the like take any field that they do not know, so the bytes must be no fields at all.
        let cases: [(&str, Bytes); 10] = [
            ("a tag without a value", frame(b"\x0a")),
            ("a length beyond the end", frame(b"\x0a\x7fabc")),
            ("a field number of 0", frame(b"\x00\x00")),
            ("an unknown wire type", frame(b"\x0f\x01")),
            ("an endless varint", frame(&[0xff; 11])),
            ("an end of a group that did not begin", frame(b"\x7c")),
            ("a frame cut off", frame_with(0, bytes.len() + 10, &bytes)),
            ("a frame's header cut off", Bytes::from_static(b"\0\0")),
            ("a compressed message without an encoding", frame_with(1, bytes.len(), &bytes)),
            ("a flag that does not exist", frame_with(7, bytes.len(), &bytes)),
        ];
        for (what, body) in cases {
            let answer = raw::send(&world.admin, &path, body, &[]).await;
            assert_eq!(answer.status.code(), Code::InvalidArgument, "{path}, {what}: {:?}", answer.status);
            assert_refused(&answer.status, Code::InvalidArgument, "MESSAGE_MALFORMED");
        }
        let answer = raw::send(&world.admin, &path, Bytes::new(), &[]).await;
        let wanted = if wraps(&path) { "OK / -" } else { "INVALID_ARGUMENT / MESSAGE_MALFORMED" };
        assert_eq!(api::written(&answer.status), wanted, "{path} without a message");
    }
    assert_eq!((world.head().await, world.names().await), (head, names));
    world.is_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strings_that_are_not_utf8_are_malformed() {
    let world = World::on(Backend::Sqlite).await;
    let head = world.head().await;
    for valid::Valid { path, bytes } in valid::all() {
        // Each byte in the middle of a text in turn becomes one that UTF-8 does not have.
        let texts = bytes.windows(3).enumerate().filter(|(_, run)| run.iter().all(u8::is_ascii_lowercase));
        for (index, _) in texts {
            let mut spoilt = bytes.clone();
            spoilt[index + 1] = 0xff;
            let answer = raw::send(&world.admin, &path, frame(&spoilt), &[]).await;
            let said = api::written(&answer.status);
            assert_eq!(said, "INVALID_ARGUMENT / MESSAGE_MALFORMED", "{path} with byte {index} spoilt");
        }
    }
    assert_eq!(world.head().await, head);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_in_a_compression_that_is_not_taken_is_malformed() {
    let world = World::on(Backend::Sqlite).await;
    let path = api::path_of("TopicService", "GetTopic");
    for encoding in ["gzip", "deflate", "zstd", "nonsense"] {
        let message = v1::GetTopicRequest { name: TOPIC.into() }.encode_to_vec();
        let body = frame_with(1, message.len(), &message);
        let answer = raw::send(&world.admin, &path, body, &[("grpc-encoding", encoding)]).await;
        assert_refused(&answer.status, Code::InvalidArgument, "MESSAGE_MALFORMED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_message_after_the_first_changes_nothing_twice() {
    let world = World::on(Backend::Sqlite).await;
    let head = world.head().await;
    let message = v1::PublishRequest { topic: TOPIC.into(), events: vec![event("x")], ..Default::default() };
    let one = frame(&message.encode_to_vec());
    let two = [&one[..], &one[..]].concat();
    let answer = raw::send(&world.admin, &api::path_of("EventService", "Publish"), two.into(), &[]).await;
    let added = world.head().await - head;
    assert_eq!(added, i64::from(api::is_ok(&answer.status)), "{:?}", answer.status);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_4_mib_is_taken_and_one_byte_more_is_too_large() {
    let world = World::on(Backend::Sqlite).await;
    let path = api::path_of("EventService", "Publish");
    for bytes in [REQUEST - 1, REQUEST] {
        let answer = raw::send(&world.admin, &path, frame(&request_of(bytes)), &[]).await;
        assert!(api::is_ok(&answer.status), "{bytes} bytes: {:?}", answer.status);
    }
    let head = world.head().await;
    for bytes in [REQUEST + 1, 5 << 20] {
        let answer = raw::send(&world.admin, &path, frame(&request_of(bytes)), &[]).await;
        assert_refused(&answer.status, Code::ResourceExhausted, "MESSAGE_TOO_LARGE");
    }
    for valid::Valid { path, .. } in valid::all() {
        // A length alone is refused before the bytes come.
        let most = if wraps(&path) { REQUEST + (64 << 10) } else { REQUEST };
        for length in [most + 1, u32::MAX as usize] {
            let answer = raw::send(&world.admin, &path, frame_with(0, length, b"x"), &[]).await;
            assert_refused(&answer.status, Code::ResourceExhausted, "MESSAGE_TOO_LARGE");
        }
    }
    assert_eq!(world.head().await, head);
    world.is_unharmed().await;
}
