//! Shows what refused calls say, by four of them: `errors TOPIC`.

use std::{
    error::Error,
    io::{self, Write},
    time::Duration,
};

use eventflow_examples::{
    Server, code_name, reason,
    v1::{
        GetCallerRequest, GetEventRequest, NewEvent, PublishRequest, auth_service_client::AuthServiceClient,
        event_service_client::EventServiceClient, get_event_request::By,
    },
    with_deadline,
};
use tonic::{Response, Status};
use tonic_types::StatusExt;

const DEADLINE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let topic = std::env::args().nth(1).ok_or("usage: errors TOPIC")?;
    let server = Server::from_env()?;
    let mut events = EventServiceClient::new(server.service()?);

    let fine = NewEvent { r#type: "order.placed".to_owned(), key: "ada".to_owned(), ..NewEvent::default() };
    let untyped = NewEvent { r#type: String::new(), ..fine.clone() };
    let long_key = NewEvent { key: "k".repeat(1_025), ..fine.clone() };
    let request =
        PublishRequest { topic: topic.clone(), events: vec![fine.clone(), untyped, long_key], ..Default::default() };
    show(events.publish(with_deadline(request, DEADLINE)).await)?;

    let request = PublishRequest { topic: "missing".to_owned(), events: vec![fine], ..Default::default() };
    show(events.publish(with_deadline(request, DEADLINE)).await)?;

    let request = GetEventRequest { topic, by: Some(By::Offset(1_000_000_000_000)), ..Default::default() };
    show(events.get_event(with_deadline(request, DEADLINE)).await)?;

    let key = format!("efk_aaaaaaaaaaaaaaaa_{}", "b".repeat(43));
    let mut auth = AuthServiceClient::new(server.service_with_key(Some(&key))?);
    show(auth.get_caller(with_deadline(GetCallerRequest {}, DEADLINE)).await)?;
    Ok(())
}

/// Prints the code and the reason, which programs decide by, and the fields that were wrong.
fn show<T>(answer: Result<Response<T>, Status>) -> io::Result<()> {
    let mut out = io::stdout();
    let Err(status) = answer else { return writeln!(out, "OK") };
    writeln!(out, "{} {}", code_name(status.code()), reason(&status))?;
    let details = status.get_error_details();
    for violation in details.bad_request().iter().flat_map(|bad_request| &bad_request.field_violations) {
        writeln!(out, "  {}", violation.field)?;
        eprintln!("  {}: {}", violation.field, violation.description);
    }
    if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
        eprintln!("  to be repeated after {delay:?}");
    }
    if let Some(request) = details.request_info() {
        // The server's log has the same id.
        eprintln!("  request {}", request.request_id);
    }
    Ok(())
}
