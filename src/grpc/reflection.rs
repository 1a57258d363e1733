//! Reflection, v1 and v1alpha, with the comments of the protos.

use tonic_reflection::server::{
    Builder,
    v1::{ServerReflection, ServerReflectionServer},
    v1alpha,
};

/// Both versions; older grpcurl speaks only the latter.
pub(super) fn services() -> Result<
    (ServerReflectionServer<impl ServerReflection>, v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection>),
    tonic_reflection::server::Error,
> {
    Ok((builder().build_v1()?, builder().build_v1alpha()?))
}

/// The API, health, and the details that errors carry, so that clients without the files can show them.
fn builder() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(crate::proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}
