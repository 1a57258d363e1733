//! `ProducerService`.

use secrecy::ExposeSecret;
use tonic::{Request, Response, Status};

use super::{
    convert::{self, Checks},
    status::Problem,
};
use crate::{
    broker::Broker,
    proto::{server::producer_service_server::ProducerService, v1},
};

/// `ProducerService` over a broker.
#[derive(Debug, Clone)]
pub(super) struct Producers(pub(super) Broker);

#[tonic::async_trait]
impl ProducerService for Producers {
    async fn register_producer(
        &self,
        request: Request<v1::RegisterProducerRequest>,
    ) -> Result<Response<v1::RegisterProducerResponse>, Status> {
        let v1::RegisterProducerRequest { producer, if_not_exists } = request.into_inner();
        let new = convert::new_producer(producer)?;
        let (producer, key) =
            self.0.register_producer(new, if_not_exists).await.map_err(|error| Problem::from(error).of_change())?;
        let secret = key.as_ref().map(|key| key.secret.expose_secret().to_owned());
        Ok(Response::new(v1::RegisterProducerResponse {
            producer: Some(convert::producer(producer)),
            api_key: key.map(|key| convert::api_key(key.record)),
            secret: secret.unwrap_or_default(),
        }))
    }

    async fn get_producer(
        &self,
        request: Request<v1::GetProducerRequest>,
    ) -> Result<Response<v1::GetProducerResponse>, Status> {
        let v1::GetProducerRequest { name } = request.into_inner();
        let mut checks = Checks::default();
        let name = checks.producer("name", &name);
        let name = checks.finish(name)?;
        let producer = self.0.get_producer(&name).await.map_err(Problem::from)?;
        Ok(Response::new(v1::GetProducerResponse { producer: Some(convert::producer(producer)) }))
    }

    async fn list_producers(
        &self,
        request: Request<v1::ListProducersRequest>,
    ) -> Result<Response<v1::ListProducersResponse>, Status> {
        let v1::ListProducersRequest { page_size, page_token } = request.into_inner();
        let mut checks = Checks::default();
        let page = convert::page(&mut checks, &["producers"], page_size, &page_token);
        let page = checks.finish(page)?;
        let mut producers = self.0.list_producers(&page.after, page.limit()).await.map_err(Problem::from)?;
        let next_page_token = page.cut(&mut producers, |producer| producer.settings.name.as_str());
        let producers = producers.into_iter().map(convert::producer).collect();
        Ok(Response::new(v1::ListProducersResponse { producers, next_page_token }))
    }

    async fn update_producer(
        &self,
        request: Request<v1::UpdateProducerRequest>,
    ) -> Result<Response<v1::UpdateProducerResponse>, Status> {
        let (name, change) = convert::producer_change(request.into_inner())?;
        let producer = self.0.update_producer(&name, change).await.map_err(|error| Problem::from(error).of_change())?;
        Ok(Response::new(v1::UpdateProducerResponse { producer: Some(convert::producer(producer)) }))
    }

    async fn delete_producer(
        &self,
        request: Request<v1::DeleteProducerRequest>,
    ) -> Result<Response<v1::DeleteProducerResponse>, Status> {
        let v1::DeleteProducerRequest { name } = request.into_inner();
        let mut checks = Checks::default();
        let name = checks.producer("name", &name);
        let name = checks.finish(name)?;
        self.0.delete_producer(&name).await.map_err(|error| Problem::from(error).of_change())?;
        Ok(Response::new(v1::DeleteProducerResponse {}))
    }
}
