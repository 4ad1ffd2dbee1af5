//! Makes this node's partitions what the cluster's metadata says they are.
