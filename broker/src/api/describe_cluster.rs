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
    let image = ctx.broker.controller.image();
    let mut brokers = ctx.live_brokers(&image);
    if request.include_fenced_brokers {
        let listed: Vec<i32> = brokers.iter().map(|broker| broker.id).collect();
        brokers.extend(
            image
                .brokers()
                .filter(|broker| !listed.contains(&broker.id))
                .map(|broker| ctx.reached(broker)),
        );
        brokers.sort_by_key(|broker| broker.id);
    }
    message!(DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: StrBytes::from(ctx.broker.controller.cluster_id()),
        controller_id: ctx.controller_id(&image),
        brokers: brokers
            .into_iter()
            .map(|broker| {
                message!(DescribeClusterBroker {
                    broker_id: broker.id,
                    host: StrBytes::from(broker.address.host),
                    port: i32::from(broker.address.port),
                    rack: broker.rack.map(StrBytes::from),
                    is_fenced: broker.fenced,
                })
            })
            .collect(),
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            CLUSTER_OPERATIONS
        } else {
            OPERATIONS_NOT_ASKED
        },
    })
}
