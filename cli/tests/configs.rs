//! The configuration files that come with the program.

// A test fails by panicking, in the functions it calls, too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::path::Path;

use connect_cli::properties;

const OWN_TO_A_NODE: [&str; 3] = ["broker.id", "listeners", "log.dirs"];

fn values(name: &str) -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    let loaded = properties::load(&folder.join(name)).unwrap();
    loaded.values().clone()
}

#[test]
fn nodes_of_a_cluster_differ_only_in_what_is_their_own() {
    for format in ["toml", "properties"] {
        let first = values(&format!("server.{format}"));
        for node in ["server-1", "server-2"] {
            let other = values(&format!("{node}.{format}"));
            let different: Vec<&str> = first
                .iter()
                .filter(|(key, value)| other.get(*key) != Some(value))
                .map(|(key, _)| key.as_str())
                .collect();
            assert_eq!(different, OWN_TO_A_NODE, "{node}.{format}");
            assert_eq!(first.len(), other.len());
        }
    }
}

#[test]
fn every_node_is_among_those_that_are_asked() {
    for node in ["server", "server-1", "server-2"] {
        let values = values(&format!("{node}.toml"));
        let address = values["listeners"].strip_prefix("PLAINTEXT://").unwrap();
        let mut asked = values["controller.quorum.bootstrap.servers"].split(',');
        assert!(asked.any(|seed| seed == address), "{node}");
    }
}

#[test]
fn both_formats_say_the_same() {
    for node in ["server", "server-1", "server-2"] {
        assert_eq!(
            values(&format!("{node}.toml")),
            values(&format!("{node}.properties"))
        );
    }
}
