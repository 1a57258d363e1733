//! What each RPC needs: the one table. What is not in it is refused.

use crate::domain::{Access, Permission};

/// Either kind of subscription; the use case asks for the one that the request names.
const SUBSCRIBE: Access = Access::AnyOf(&[Permission::SubscribeTopic, Permission::Consume]);
/// Keys of producers and consumers, or of users; the use case asks for the one that the owner needs.
const KEYS: Access = Access::AnyOf(&[Permission::ManageKeys, Permission::ManageUsers]);

/// Every RPC of the API, by service and method.
const RPCS: &[(&str, &str, Access)] = &[
    ("AuthService", "Login", Access::Open),
    ("AuthService", "RefreshToken", Access::Open),
    ("AuthService", "Logout", Access::Needs(Permission::OwnAccount)),
    ("AuthService", "GetCaller", Access::Authenticated),
    ("AuthService", "GetServerInfo", Access::Authenticated),
    ("AuthService", "CreateUser", Access::Needs(Permission::ManageUsers)),
    ("AuthService", "ListUsers", Access::Needs(Permission::ManageUsers)),
    ("AuthService", "UpdateUser", Access::Needs(Permission::ManageUsers)),
    ("AuthService", "DeleteUser", Access::Needs(Permission::ManageUsers)),
    ("AuthService", "ChangePassword", Access::Needs(Permission::OwnAccount)),
    ("AuthService", "CreateApiKey", KEYS),
    ("AuthService", "ListApiKeys", KEYS),
    ("AuthService", "RotateApiKey", KEYS),
    ("AuthService", "RevokeApiKey", KEYS),
    ("TopicService", "CreateTopic", Access::Needs(Permission::ManageTopics)),
    ("TopicService", "GetTopic", Access::Needs(Permission::ReadTopics)),
    ("TopicService", "ListTopics", Access::Needs(Permission::ListTopics)),
    ("TopicService", "UpdateTopic", Access::Needs(Permission::ManageTopics)),
    ("TopicService", "TrimTopic", Access::Needs(Permission::ManageTopics)),
    ("TopicService", "DeleteTopic", Access::Needs(Permission::ManageTopics)),
    ("TopicService", "VerifyTopic", Access::Needs(Permission::ListEvents)),
    ("EventService", "Publish", Access::Needs(Permission::Publish)),
    ("EventService", "PublishStream", Access::Needs(Permission::Publish)),
    ("EventService", "GetEvent", Access::Needs(Permission::ReadEvents)),
    ("EventService", "ListEvents", Access::Needs(Permission::ListEvents)),
    ("ConsumerService", "RegisterConsumer", Access::Needs(Permission::ManageConsumers)),
    ("ConsumerService", "GetConsumer", Access::Needs(Permission::ReadConsumers)),
    ("ConsumerService", "ListConsumers", Access::Needs(Permission::ListConsumers)),
    ("ConsumerService", "UpdateConsumer", Access::Needs(Permission::ManageConsumers)),
    ("ConsumerService", "DeleteConsumer", Access::Needs(Permission::ManageConsumers)),
    ("ConsumerService", "SeekConsumer", Access::Needs(Permission::ManageConsumers)),
    ("ConsumerService", "PauseConsumer", Access::Needs(Permission::ManageConsumers)),
    ("ConsumerService", "Subscribe", SUBSCRIBE),
    ("ConsumerService", "Poll", Access::Needs(Permission::Consume)),
    ("ConsumerService", "CommitOffset", Access::Needs(Permission::Consume)),
    ("ConsumerService", "Settle", Access::Needs(Permission::Consume)),
    ("ConsumerService", "ListDeadLetters", Access::Needs(Permission::ReadConsumers)),
    ("ConsumerService", "RedriveDeadLetters", Access::Needs(Permission::ManageConsumers)),
    ("ConsumerService", "DiscardDeadLetters", Access::Needs(Permission::ManageConsumers)),
    ("ProducerService", "RegisterProducer", Access::Needs(Permission::ManageProducers)),
    ("ProducerService", "GetProducer", Access::Needs(Permission::ReadProducers)),
    ("ProducerService", "ListProducers", Access::Needs(Permission::ReadProducers)),
    ("ProducerService", "UpdateProducer", Access::Needs(Permission::ManageProducers)),
    ("ProducerService", "DeleteProducer", Access::Needs(Permission::ManageProducers)),
];

/// Services of gRPC itself, open to everybody: whoever runs them may still leave them out.
const OPEN_SERVICES: [&str; 3] =
    ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];

/// The methods that these have.
const OPEN_METHODS: [&str; 4] = ["Check", "List", "Watch", "ServerReflectionInfo"];

/// The method of this path for a metric: `eventflow.v1.TopicService/CreateTopic`, or `unknown`, since
/// clients may ask for any number of methods that there are not.
pub(super) fn known_method(path: &str) -> &str {
    let known = |name: &&str| {
        let method = name.rsplit('/').next().unwrap_or_default();
        access(path).is_some()
            && (!OPEN_SERVICES.iter().any(|of| name.starts_with(of)) || OPEN_METHODS.contains(&method))
    };
    path.strip_prefix('/').filter(known).unwrap_or("unknown")
}

/// What the RPC with this path (`/eventflow.v1.TopicService/CreateTopic`) needs; `None`: there is none.
pub(super) fn access(path: &str) -> Option<Access> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    if method.is_empty() || method.contains('/') {
        return None;
    }
    if OPEN_SERVICES.contains(&service) {
        return Some(Access::Open);
    }
    let service = service.strip_prefix("eventflow.v1.")?;
    RPCS.iter().find(|(of, name, _)| *of == service && *name == method).map(|(_, _, access)| *access)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;
    use crate::{
        domain::{Caller, ConsumerName, CredentialRef, Principal, ProducerName, Role, Username},
        proto::DESCRIPTORS,
    };

    /// Every RPC of the protos, as a path.
    fn described() -> BTreeSet<String> {
        let files = FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
        let services = files.iter().flat_map(|file| file.service.iter().map(move |service| (file.package(), service)));
        services
            .flat_map(|(package, service)| {
                service.method.iter().map(move |method| format!("/{package}.{}/{}", service.name(), method.name()))
            })
            .collect()
    }

    fn listed() -> Vec<String> {
        RPCS.iter().map(|(service, method, _)| format!("/eventflow.v1.{service}/{method}")).collect()
    }

    fn callers() -> [(&'static str, Principal); 5] {
        let principal = |caller| Principal::new(caller, CredentialRef::Key { id: "k".into() }, None);
        let user = |role| principal(Caller::User { name: Username::parse("ada").unwrap(), role });
        let producer = Caller::Producer { name: ProducerName::parse("shop").unwrap(), topics: [].into() };
        let consumer = Caller::Consumer { name: ConsumerName::parse("billing").unwrap() };
        [
            ("producer", principal(producer)),
            ("consumer", principal(consumer)),
            ("viewer", user(Role::Viewer)),
            ("operator", user(Role::Operator)),
            ("admin", user(Role::Admin)),
        ]
    }

    /// The methods that a caller gets as far as the use case with.
    fn allowed(who: &str) -> BTreeSet<&'static str> {
        let callers = callers();
        let principal = callers.iter().find(|(name, _)| *name == who).map(|(_, principal)| principal);
        RPCS.iter().filter(|(_, _, access)| access.allows(principal)).map(|(_, method, _)| *method).collect()
    }

    #[test]
    fn every_rpc_of_the_protos_has_one_row_and_no_other_has() {
        let (described, listed) = (described(), listed());
        assert!(described.len() > 40, "the descriptors hold {} RPCs", described.len());
        assert_eq!(described, listed.iter().cloned().collect::<BTreeSet<_>>());
        assert_eq!(listed.len(), described.len(), "an RPC has two rows");
        assert!(described.iter().all(|path| access(path).is_some()));
    }

    #[test]
    fn nobody_gets_to_log_in_and_to_renew_tokens() {
        assert_eq!(allowed("nobody"), BTreeSet::from(["Login", "RefreshToken"]));
    }

    #[test]
    fn keys_of_producers_and_consumers_get_to_their_own_calls() {
        let with = |calls: &[&'static str]| {
            let common = ["Login", "RefreshToken", "GetCaller", "GetServerInfo"];
            common.iter().chain(calls).copied().collect::<BTreeSet<_>>()
        };
        assert_eq!(allowed("producer"), with(&["Publish", "PublishStream", "GetTopic", "GetEvent"]));
        let consuming = ["Subscribe", "Poll", "CommitOffset", "Settle", "GetConsumer", "ListDeadLetters"];
        assert_eq!(allowed("consumer"), with(&consuming));
    }

    #[test]
    fn a_viewer_reads_and_changes_nothing_but_its_own_account() {
        let reads = [
            "GetTopic",
            "ListTopics",
            "VerifyTopic",
            "GetEvent",
            "ListEvents",
            "GetConsumer",
            "ListConsumers",
            "ListDeadLetters",
            "GetProducer",
            "ListProducers",
            "Subscribe",
            "GetCaller",
            "GetServerInfo",
        ];
        let own = ["Login", "RefreshToken", "Logout", "ChangePassword"];
        assert_eq!(allowed("viewer"), reads.into_iter().chain(own).collect());
    }

    #[test]
    fn an_operator_gets_to_everything_but_users() {
        let users = BTreeSet::from(["CreateUser", "ListUsers", "UpdateUser", "DeleteUser"]);
        let all = RPCS.iter().map(|(_, method, _)| *method).collect::<BTreeSet<_>>();
        assert_eq!(allowed("operator"), all.difference(&users).copied().collect());
        assert_eq!(allowed("admin"), all);
    }

    #[test]
    fn health_and_reflection_are_open_and_the_unknown_has_no_row() {
        for open in [
            "/grpc.health.v1.Health/Check",
            "/grpc.health.v1.Health/Watch",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        ] {
            assert_eq!(access(open), Some(Access::Open), "{open}");
        }
        for unknown in [
            "",
            "/",
            "//",
            "/eventflow.v1.TopicService/",
            "/eventflow.v1.TopicService",
            "eventflow.v1.TopicService/GetTopic",
            "/eventflow.v1.TopicService/GetTopic/",
            "/eventflow.v1.TopicService//GetTopic",
            "/TopicService/GetTopic",
            "/eventflow.v1.TopicService/getTopic",
            "/eventflow.v1.EventService/GetTopic",
            "/grpc.health.v1.Health/",
            "/grpc.health.v1.Health/../Check",
            "/grpc.health.v1.HealthX/Check",
            "/eventflow.v2.AuthService/Login",
        ] {
            assert_eq!(access(unknown), None, "{unknown}");
            assert_eq!(known_method(unknown), "unknown");
        }
        assert_eq!(known_method("/grpc.health.v1.Health/Anything"), "unknown");
        assert_eq!(known_method("/grpc.health.v1.Health/Check"), "grpc.health.v1.Health/Check");
        assert!(described().iter().all(|path| known_method(path) == &path[1..]));
    }
}
