//! `TopicService`.

use tonic::{Request, Response, Status};

use super::{
    authenticate::caller,
    convert::{self, Checks},
    reason::Reason,
    status::Problem,
};
use crate::{
    broker::Broker,
    domain::limits,
    proto::{server::topic_service_server::TopicService, v1},
};

/// `TopicService` over a broker.
#[derive(Debug, Clone)]
pub(super) struct Topics(pub(super) Broker);

#[tonic::async_trait]
impl TopicService for Topics {
    async fn create_topic(
        &self,
        request: Request<v1::CreateTopicRequest>,
    ) -> Result<Response<v1::CreateTopicResponse>, Status> {
        let v1::CreateTopicRequest { topic, if_not_exists } = request.into_inner();
        let new = convert::new_topic(topic)?;
        let topic = self.0.create_topic(new, if_not_exists).await.map_err(|error| Problem::from(error).of_change())?;
        Ok(Response::new(v1::CreateTopicResponse { topic: Some(convert::topic(topic)) }))
    }

    async fn get_topic(&self, request: Request<v1::GetTopicRequest>) -> Result<Response<v1::GetTopicResponse>, Status> {
        let principal = caller(&request)?;
        let v1::GetTopicRequest { name } = request.into_inner();
        let mut checks = Checks::default();
        let name = checks.topic("name", &name);
        let name = checks.finish(name)?;
        let topic = self.0.get_topic(&principal, &name).await.map_err(Problem::from)?;
        Ok(Response::new(v1::GetTopicResponse { topic: Some(convert::topic(topic)) }))
    }

    async fn list_topics(
        &self,
        request: Request<v1::ListTopicsRequest>,
    ) -> Result<Response<v1::ListTopicsResponse>, Status> {
        let v1::ListTopicsRequest { prefix, page_size, page_token } = request.into_inner();
        let mut checks = Checks::default();
        if prefix.len() > limits::NAME_BYTES || prefix.contains('\0') {
            checks.add(Reason::NameInvalid, "prefix", "no name begins so");
        }
        let page = convert::page(&mut checks, &["topics", &prefix], page_size, &page_token);
        let page = checks.finish(page)?;
        let found = self.0.list_topics(&prefix, &page.after, page.limit()).await;
        let mut topics = found.map_err(Problem::from)?;
        let next_page_token = page.cut(&mut topics, |topic| topic.settings.name.as_str());
        let topics = topics.into_iter().map(convert::topic).collect();
        Ok(Response::new(v1::ListTopicsResponse { topics, next_page_token }))
    }

    async fn update_topic(
        &self,
        request: Request<v1::UpdateTopicRequest>,
    ) -> Result<Response<v1::UpdateTopicResponse>, Status> {
        let (name, change) = convert::topic_change(request.into_inner())?;
        let topic = self.0.update_topic(&name, change).await.map_err(|error| Problem::from(error).of_change())?;
        Ok(Response::new(v1::UpdateTopicResponse { topic: Some(convert::topic(topic)) }))
    }

    async fn trim_topic(
        &self,
        request: Request<v1::TrimTopicRequest>,
    ) -> Result<Response<v1::TrimTopicResponse>, Status> {
        let v1::TrimTopicRequest { name, before_offset, validate_only } = request.into_inner();
        let mut checks = Checks::default();
        let name = checks.topic("name", &name);
        let before = checks.offset(Reason::RequestInvalid, "before_offset", before_offset);
        let (name, before) = checks.finish(name.zip(before))?;
        let trimmed =
            self.0.trim_topic(&name, before, validate_only).await.map_err(|error| Problem::from(error).of_change())?;
        Ok(Response::new(v1::TrimTopicResponse {
            trimmed_events: Some(i64::try_from(trimmed.events).unwrap_or(i64::MAX)),
            earliest_offset: trimmed.bounds.earliest().get(),
        }))
    }

    async fn delete_topic(
        &self,
        request: Request<v1::DeleteTopicRequest>,
    ) -> Result<Response<v1::DeleteTopicResponse>, Status> {
        let v1::DeleteTopicRequest { name } = request.into_inner();
        let mut checks = Checks::default();
        let name = checks.topic("name", &name);
        let name = checks.finish(name)?;
        self.0.delete_topic(&name).await.map_err(|error| Problem::from(error).of_change())?;
        Ok(Response::new(v1::DeleteTopicResponse {}))
    }

    async fn verify_topic(
        &self,
        request: Request<v1::VerifyTopicRequest>,
    ) -> Result<Response<v1::VerifyTopicResponse>, Status> {
        let principal = caller(&request)?;
        let verify = convert::verify_topic(request.into_inner())?;
        let verified = self.0.verify_topic(&principal, &verify).await.map_err(Problem::from)?;
        Ok(Response::new(convert::verified(&verify, verified)))
    }
}
