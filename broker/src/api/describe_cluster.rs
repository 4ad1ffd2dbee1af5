//! DescribeCluster (key 60).

use kafka_wire::describe_cluster_response::DescribeClusterBroker;
use kafka_wire::{DescribeClusterRequest, DescribeClusterResponse};
use kafka_wire_core::{ApiVersion, StrBytes};

use super::message;
use super::metadata::{CLUSTER_OPERATIONS, OPERATIONS_NOT_ASKED};
use crate::error_code;
use crate::node::RequestContext;

pub(crate) const VERSIONS: (i16, i16) = (0, 2);

/// The endpoints asked for are those of brokers; controllers are 2.
const BROKERS: i8 = 1;

pub(crate) async fn handle(
    ctx: &RequestContext,
    request: DescribeClusterRequest,
    _version: ApiVersion,
) -> DescribeClusterResponse {
    if request.endpoint_type != BROKERS {
        return message!(DescribeClusterResponse {
            error_code: error_code::UNSUPPORTED_ENDPOINT_TYPE,
            error_message: Some(StrBytes::from("this listener is for clients of brokers")),
        });
    }
    let address = ctx.advertised();
    let config = &ctx.broker.config;
    message!(DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: StrBytes::from(ctx.broker.controller.cluster_id()),
        controller_id: config.node_id,
        brokers: vec![message!(DescribeClusterBroker {
            broker_id: config.node_id,
            host: StrBytes::from(address.host),
            port: i32::from(address.port),
            rack: config.rack.as_deref().map(StrBytes::from),
        })],
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            CLUSTER_OPERATIONS
        } else {
            OPERATIONS_NOT_ASKED
        },
    })
}
