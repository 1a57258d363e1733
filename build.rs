//! Generates the gRPC code and the descriptor set from `proto/`, without needing `protoc`, and the lists of migrations.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use prost::Message;

const PROTOS: [&str; 6] = [
    "eventflow/v1/auth_service.proto",
    "eventflow/v1/consumer_service.proto",
    "eventflow/v1/event.proto",
    "eventflow/v1/event_service.proto",
    "eventflow/v1/producer_service.proto",
    "eventflow/v1/topic_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=migrations");
    let out = PathBuf::from(env::var("OUT_DIR")?);

    // Reflection serves the comments, so the source information stays in the set.
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(PROTOS)?;
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    let descriptors = compiler.file_descriptor_set();
    assert!(descriptors.encoded_len() > 0, "the protos compiled to nothing");

    // Messages and clients.
    let mut config = tonic_prost_build::Config::new();
    config.bytes(["."]).skip_debug(SECRETS);
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(true)
        .out_dir(&out)
        .compile_fds_with_config(descriptors.clone(), config)?;

    // Servers, on the same messages, but for the frames of a stream: those are put together from
    // events that were encoded once for all readers.
    let servers = out.join("server");
    fs::create_dir_all(&servers)?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_transport(true)
        .extern_path(".eventflow.v1", "crate::proto::v1")
        .extern_path(".eventflow.v1.SubscribeResponse", "crate::grpc::SubscribeFrame")
        .out_dir(&servers)
        .compile_fds(descriptors)?;

    for store in ["postgres", "sqlite"] {
        let list = migrations(&Path::new("migrations").join(store))?;
        fs::write(out.join(format!("{store}_migrations.rs")), list)?;
    }
    Ok(())
}

/// The migrations of a folder as a Rust expression: number, name and content of each, in order.
fn migrations(folder: &Path) -> Result<String, Box<dyn Error>> {
    let mut list = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        // 0001_cluster.sql
        let (number, name) = stem.and_then(|stem| stem.split_once('_')).ok_or("a migration has a number and a name")?;
        list.push((number.parse::<i64>()?, name.replace('_', " "), fs::read_to_string(&path)?));
    }
    list.sort();
    Ok(format!("&{list:?}"))
}

/// Messages with passwords, tokens and keys: their `Debug` is written by hand.
const SECRETS: [&str; 9] = [
    "eventflow.v1.LoginRequest",
    "eventflow.v1.Tokens",
    "eventflow.v1.RefreshTokenRequest",
    "eventflow.v1.CreateUserRequest",
    "eventflow.v1.ChangePasswordRequest",
    "eventflow.v1.CreateApiKeyResponse",
    "eventflow.v1.RotateApiKeyResponse",
    "eventflow.v1.RegisterProducerResponse",
    "eventflow.v1.LoginResponse",
];
