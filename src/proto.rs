//! Generated from `proto/`: messages and clients, and the servers in [`server`].

/// Every file of the API and what it imports, with comments, for reflection and for proto JSON.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The API, version 1.
pub mod v1 {
    #![allow(
        clippy::allow_attributes,
        clippy::all,
        missing_docs,
        reason = "generated; the protos hold the documentation"
    )]
    include!(concat!(env!("OUT_DIR"), "/eventflow.v1.rs"));

    /// Writes `Debug` for messages that hold secrets: their name alone.
    macro_rules! hide {
        ($($message:ident)*) => {$(
            impl std::fmt::Debug for $message {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.debug_struct(stringify!($message)).finish_non_exhaustive()
                }
            }
        )*};
    }

    hide! {
        LoginRequest Tokens RefreshTokenRequest CreateUserRequest ChangePasswordRequest CreateApiKeyResponse
        RotateApiKeyResponse RegisterProducerResponse LoginResponse
    }
}

/// The traits that a server of the API implements.
pub mod server {
    #![allow(
        clippy::allow_attributes,
        clippy::all,
        missing_docs,
        reason = "generated; the protos hold the documentation"
    )]
    include!(concat!(env!("OUT_DIR"), "/server/eventflow.v1.rs"));
}
