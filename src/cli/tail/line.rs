//! Events on standard output.

use tokio::io::{AsyncWriteExt, Stdout};

use crate::{
    cli::{
        failure::Failure,
        json::{self, Defaults},
        moment::show_time,
        output::{Output, cell, plain},
        payload::payload,
    },
    proto::v1::Event,
};

/// Writes events to standard output. Waiting for a slow reader of it does not hold up the other tasks.
pub(in crate::cli) struct Printer {
    output: Output,
    stdout: Stdout,
}

impl Printer {
    /// In this format.
    pub(in crate::cli) fn new(output: Output) -> Self {
        Self { output, stdout: tokio::io::stdout() }
    }

    /// Writes events, a line each; they are with the reader when it returns.
    pub(in crate::cli) async fn print<'a>(&mut self, events: impl Iterator<Item = &'a Event>) -> Result<(), Failure> {
        let mut lines = String::new();
        for event in events {
            if self.output.is_json() {
                lines += &json::line("Event", event, Defaults::Left)?;
            } else {
                lines += &text(event);
            }
            lines.push('\n');
        }
        self.stdout.write_all(lines.as_bytes()).await.map_err(|error| Failure::writing(&error))?;
        self.stdout.flush().await.map_err(|error| Failure::writing(&error))
    }
}

/// Offset, recorded time, type, key and payload.
fn text(event: &Event) -> String {
    let payload = payload(event);
    let time = show_time(event.recorded_time.as_ref());
    let line = format!("{}  {time}  {}  {}  {payload}", event.offset, plain(&event.r#type), cell(&event.key));
    line.trim_end_matches(' ').to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Event, text};
    use crate::proto::v1::event::Payload;

    #[test]
    fn a_line_is_offset_time_type_key_and_payload() {
        let event = Event {
            offset: 5,
            r#type: "order.placed".to_owned(),
            key: "order-1".to_owned(),
            recorded_time: Some(prost_types::Timestamp { seconds: 0, nanos: 1000 }),
            payload: Some(Payload::Text("{\"order\": 1}".to_owned())),
            ..Event::default()
        };
        assert_eq!(text(&event), "5  1970-01-01T00:00:00.000001Z  order.placed  order-1  {\"order\": 1}");
        let binary = Event { payload: Some(Payload::Data(vec![0, 255].into())), key: String::new(), ..event.clone() };
        assert!(text(&binary).ends_with("  order.placed  -  base64:AP8="));
        let lines = Event { payload: Some(Payload::Text("a\nb".to_owned())), ..event };
        assert!(text(&lines).ends_with("  a\\nb"));
    }
}
