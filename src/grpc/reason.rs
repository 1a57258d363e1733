//! Every reason that a status can have, with its code.

use tonic::Code;

/// Defines the reasons in one table.
macro_rules! reasons {
    ($($code:ident: $($variant:ident $name:literal),+;)+) => {
        /// Why a call failed, as `google.rpc.ErrorInfo` and the trailer `eventflow-reason` say it. The
        /// protos document each one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Reason {
            $($($variant),+),+
        }

        impl Reason {
            /// Every reason.
            pub(crate) const ALL: &[Reason] = &[$($(Reason::$variant),+),+];

            /// The name on the wire.
            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $($(Self::$variant => $name),+),+
                }
            }

            /// The code that it always comes with.
            pub(crate) fn code(self) -> Code {
                match self {
                    $($(Self::$variant)|+ => Code::$code),+
                }
            }
        }
    };
}

reasons! {
    InvalidArgument:
        EventInvalid "EVENT_INVALID", BatchInvalid "BATCH_INVALID", NameInvalid "NAME_INVALID",
        FilterInvalid "FILTER_INVALID", StartInvalid "START_INVALID", PageTokenInvalid "PAGE_TOKEN_INVALID",
        MessageMalformed "MESSAGE_MALFORMED", RequestInvalid "REQUEST_INVALID";
    Unauthenticated:
        CredentialMissing "CREDENTIAL_MISSING", CredentialInvalid "CREDENTIAL_INVALID",
        CredentialExpired "CREDENTIAL_EXPIRED", CredentialRevoked "CREDENTIAL_REVOKED";
    PermissionDenied:
        PermissionDenied "PERMISSION_DENIED";
    NotFound:
        TopicNotFound "TOPIC_NOT_FOUND", ConsumerNotFound "CONSUMER_NOT_FOUND",
        ProducerNotFound "PRODUCER_NOT_FOUND", UserNotFound "USER_NOT_FOUND", KeyNotFound "KEY_NOT_FOUND",
        EventNotFound "EVENT_NOT_FOUND";
    AlreadyExists:
        TopicExists "TOPIC_EXISTS", ConsumerExists "CONSUMER_EXISTS", ProducerExists "PRODUCER_EXISTS",
        UserExists "USER_EXISTS", EventIdReused "EVENT_ID_REUSED";
    Aborted:
        HeadMoved "HEAD_MOVED", ConsumerFenced "CONSUMER_FENCED",
        PredecessorFailed "PREDECESSOR_FAILED";
    FailedPrecondition:
        TopicSealed "TOPIC_SEALED", TopicInUse "TOPIC_IN_USE", ConsumerBusy "CONSUMER_BUSY", WrongMode "WRONG_MODE",
        LogReplaced "LOG_REPLACED", ProducerDisabled "PRODUCER_DISABLED", LastAdmin "LAST_ADMIN";
    OutOfRange:
        OffsetTrimmed "OFFSET_TRIMMED", OffsetBeyondHead "OFFSET_BEYOND_HEAD";
    ResourceExhausted:
        Overloaded "OVERLOADED", StorageFull "STORAGE_FULL", MessageTooLarge "MESSAGE_TOO_LARGE",
        LoginThrottled "LOGIN_THROTTLED", TooManyStreams "TOO_MANY_STREAMS";
    Unavailable:
        StorageUnavailable "STORAGE_UNAVAILABLE", OutcomeUnknown "OUTCOME_UNKNOWN", Draining "DRAINING",
        StreamRotated "STREAM_ROTATED";
    Unimplemented:
        MethodNotFound "METHOD_NOT_FOUND";
    DataLoss:
        LogShortened "LOG_SHORTENED";
    Internal:
        Internal "INTERNAL";
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;

    use super::Reason;

    /// Every comment of the API.
    fn comments() -> String {
        let pool = DescriptorPool::decode(crate::proto::DESCRIPTORS).unwrap();
        let files = pool.file_descriptor_protos();
        let locations = files.flat_map(|file| file.source_code_info.iter().flat_map(|info| &info.location));
        locations.filter_map(|location| location.leading_comments.clone()).collect()
    }

    #[test]
    fn every_reason_is_documented_in_a_proto_with_its_code() {
        let comments = comments();
        for reason in Reason::ALL {
            let code = format!("{:?}", reason.code());
            let code: String = code
                .char_indices()
                .flat_map(|(n, c)| {
                    (n > 0 && c.is_uppercase()).then_some('_').into_iter().chain([c.to_ascii_uppercase()])
                })
                .collect();
            let line = format!("- {code} / {}:", reason.as_str());
            assert!(comments.contains(&line), "no proto comment has {line:?}");
        }
    }
}
