//! Just enough of Redis's protocol to tell one reply from the next.

/// The length of the first reply in `bytes`; `None` while it is incomplete.
pub fn reply_length(bytes: &[u8]) -> Option<usize> {
    let (kind, rest) = bytes.split_first()?;
    let line = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let header = 1 + line + 2;
    let count = || std::str::from_utf8(&rest[..line]).ok().and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
    match kind {
        b'$' | b'=' | b'!' => {
            let length = usize::try_from(count()).map_or(header, |length| header + length + 2);
            (bytes.len() >= length).then_some(length)
        }
        b'*' | b'~' | b'>' => items_length(bytes, header, count()),
        b'%' | b'|' => items_length(bytes, header, 2 * count()),
        _ => Some(header),
    }
}

fn items_length(bytes: &[u8], header: usize, count: i64) -> Option<usize> {
    (0..count).try_fold(header, |length, _| Some(length + reply_length(&bytes[length..])?))
}

/// Whether a reply is a published message on a channel whose name contains `channel`.
pub fn is_message(reply: &[u8], channel: &str) -> bool {
    let text = String::from_utf8_lossy(reply);
    let mut lines = text.split("\r\n");
    let aggregate = lines.next().is_some_and(|header| header.starts_with(['*', '>']));
    let kind = lines.nth(1).unwrap_or_default();
    aggregate && ["message", "pmessage"].contains(&kind) && lines.any(|line| line.contains(channel))
}

#[test]
fn replies_are_told_apart() {
    for whole in [
        "+OK\r\n",
        ":1\r\n",
        "$-1\r\n",
        "$5\r\nhello\r\n",
        "*-1\r\n",
        "*2\r\n$1\r\na\r\n:7\r\n",
        "%1\r\n+a\r\n*1\r\n#t\r\n",
        ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$4\r\n\r\n\r\n\r\n",
    ] {
        assert_eq!(reply_length(format!("{whole}+next\r\n").as_bytes()), Some(whole.len()), "{whole:?}");
        for cut in 0..whole.len() {
            assert_eq!(reply_length(&whole.as_bytes()[..cut]), None, "{whole:?} cut at {cut}");
        }
    }
}

#[test]
fn messages_are_told_from_answers() {
    let message = b"*4\r\n$8\r\npmessage\r\n$3\r\nt:*\r\n$3\r\nt:1\r\n$1\r\nx\r\n";
    assert!(is_message(message, "t:"));
    assert!(is_message(b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n", ""));
    assert!(!is_message(message, "beat"));
    assert!(!is_message(b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n", ""));
    assert!(!is_message(b"$7\r\nmessage\r\n", ""));
}
