//! Changes to instances while their tasks wait: a task begun anew (ModifyProcessInstance), an instance moved to another
//! process (MigrateProcessInstance). deskhand itself has no use for these calls, so their messages are here.

use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, prost::Message)]
struct Modify {
    #[prost(int64, tag = "1")]
    process_instance: i64,
    #[prost(message, repeated, tag = "2")]
    activate: Vec<Activate>,
    #[prost(message, repeated, tag = "3")]
    terminate: Vec<Terminate>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Activate {
    #[prost(string, tag = "1")]
    element: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Terminate {
    #[prost(int64, tag = "1")]
    element_instance: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Migrate {
    #[prost(int64, tag = "1")]
    process_instance: i64,
    #[prost(message, optional, tag = "2")]
    plan: Option<Plan>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Plan {
    #[prost(int64, tag = "1")]
    target: i64,
    #[prost(message, repeated, tag = "2")]
    mappings: Vec<Mapping>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Mapping {
    #[prost(string, tag = "1")]
    from: String,
    #[prost(string, tag = "2")]
    to: String,
}

/// An answer that says nothing.
#[derive(Clone, PartialEq, prost::Message)]
struct Done {}

/// Ends one instance of an element and begins the element anew.
pub async fn begin_anew(
    channel: &Channel,
    process_instance: i64,
    element: &str,
    element_instance: i64,
) -> Result<(), Status> {
    let activate = vec![Activate {
        element: element.to_owned(),
    }];
    let request = Modify {
        process_instance,
        activate,
        terminate: vec![Terminate { element_instance }],
    };
    call(channel, "ModifyProcessInstance", request).await
}

/// Moves an instance to another process whose elements have the same names.
pub async fn migrate(channel: &Channel, process_instance: i64, target: i64, elements: &[&str]) -> Result<(), Status> {
    let same = |element: &&str| Mapping {
        from: (*element).to_owned(),
        to: (*element).to_owned(),
    };
    let mappings = elements.iter().map(same).collect();
    let request = Migrate {
        process_instance,
        plan: Some(Plan { target, mappings }),
    };
    call(channel, "MigrateProcessInstance", request).await
}

async fn call<M: prost::Message + 'static>(channel: &Channel, method: &str, request: M) -> Result<(), Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::try_from(format!("/gateway_protocol.Gateway/{method}")).unwrap();
    let codec: ProstCodec<M, Done> = ProstCodec::default();
    grpc.unary(Request::new(request), path, codec).await.map(drop)
}
