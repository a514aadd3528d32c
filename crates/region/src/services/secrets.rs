//! `pi.secrets.v1.Secrets`: what is common to its handlers. What each does is in [`super::write`], [`super::read`] and
//! [`super::watch`].

use std::sync::Arc;

use pi_proto::secrets::v1::secrets_server::Secrets;
use pi_proto::secrets::v1::{
    AccessRequest, AccessResponse, CreateRequest, CreateResponse, DeleteRequest, DeleteResponse, GetRequest,
    GetResponse, ListRequest, ListResponse, UpdateRequest, UpdateResponse, WatchRequest,
};
use pi_raft::store::Store;
use tonic::{Request, Response, Status};

use super::Node;
use crate::authorize::Action;

/// The service.
pub struct SecretsService<S: Store>(pub Arc<Node<S>>);

/// One unary handler: admit, execute, answer.
macro_rules! unary {
    ($self:ident, $request:ident, $action:expr, $method:ident) => {{
        let mut call = $self.0.gate().admit(&$request, &$request.get_ref().region, $action)?;
        let result = $self.0.$method(&mut call, $request.into_inner()).await;
        result.map(Response::new).map_err(|failure| call.refuse(&failure))
    }};
}

#[tonic::async_trait]
impl<S: Store> Secrets for SecretsService<S> {
    type WatchStream = super::watch::Messages;

    async fn create(&self, request: Request<CreateRequest>) -> Result<Response<CreateResponse>, Status> {
        unary!(self, request, Action::CreateSecret, create)
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        unary!(self, request, Action::GetSecret, get)
    }

    async fn access(&self, request: Request<AccessRequest>) -> Result<Response<AccessResponse>, Status> {
        unary!(self, request, Action::AccessSecret, access)
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        unary!(self, request, Action::ListSecrets, list)
    }

    async fn update(&self, request: Request<UpdateRequest>) -> Result<Response<UpdateResponse>, Status> {
        unary!(self, request, Action::UpdateSecret, update)
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        unary!(self, request, Action::DeleteSecret, delete)
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let call = self.0.gate().admit(&request, &request.get_ref().region, Action::WatchSecrets)?;
        let result = super::watch::start(Arc::clone(&self.0), call.clone(), request.into_inner()).await;
        result.map(Response::new).map_err(|failure| call.refuse(&failure))
    }
}
