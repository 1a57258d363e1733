//! What the protos say: every RPC, and every status with a reason.

use std::{collections::BTreeSet, sync::LazyLock};

use eventflow::proto::DESCRIPTORS;
use prost_reflect::{DescriptorPool, MethodDescriptor};
use tonic::{Code, Status};

/// The descriptors of the API.
pub fn pool() -> DescriptorPool {
    static POOL: LazyLock<DescriptorPool> =
        LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).expect("the descriptors of this build"));
    POOL.clone()
}

/// Every RPC of the API.
pub fn methods() -> Vec<MethodDescriptor> {
    let services = pool().services().filter(|service| service.package_name() == "eventflow.v1").collect::<Vec<_>>();
    let methods: Vec<_> = services.iter().flat_map(|service| service.methods().collect::<Vec<_>>()).collect();
    assert!(methods.len() > 40, "the descriptors hold {} RPCs", methods.len());
    methods
}

/// The path of an RPC, as HTTP names it.
pub fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// The path of a method of a service.
pub fn path_of(service: &str, method: &str) -> String {
    format!("/eventflow.v1.{service}/{method}")
}

/// Every `CODE / REASON` that the comments of the API explain.
pub fn documented() -> BTreeSet<String> {
    let pool = pool();
    let locations = pool.file_descriptor_protos().flat_map(|file| file.source_code_info.iter());
    let comments =
        locations.flat_map(|info| &info.location).filter_map(|location| location.leading_comments.as_deref());
    let lines = comments.flat_map(str::lines).filter_map(|line| line.trim().strip_prefix("- "));
    let reasons = lines.filter_map(|line| Some(line.split_once(": ")?.0.to_owned()));
    let reasons: BTreeSet<_> = reasons.filter(|text| text.contains(" / ")).collect();
    assert!(reasons.len() > 40, "the comments explain {} reasons", reasons.len());
    reasons
}

/// A status as the comments write it.
pub fn written(status: &Status) -> String {
    let code = format!("{:?}", status.code());
    let mut text = String::new();
    for (n, c) in code.char_indices() {
        if n > 0 && c.is_uppercase() {
            text.push('_');
        }
        text.push(c.to_ascii_uppercase());
    }
    let reason = status.metadata().get("eventflow-reason").and_then(|reason| reason.to_str().ok());
    format!("{text} / {}", reason.unwrap_or("-"))
}

/// Whether a status says that the call was taken.
pub fn is_ok(status: &Status) -> bool {
    status.code() == Code::Ok
}
