//! Generates messages and clients from the protos, without needing `protoc`.

use std::error::Error;

const PROTOS: &str = "../../proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PROTOS}");
    let services = ["auth_service", "consumer_service", "event_service"];
    let files = services.map(|name| format!("eventflow/v1/{name}.proto"));
    let descriptors = protox::compile(files, [PROTOS])?;
    tonic_prost_build::configure().build_server(false).compile_fds(descriptors)?;
    Ok(())
}
