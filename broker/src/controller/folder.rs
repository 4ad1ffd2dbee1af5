//! The data folders as a whole: whose they are, and that nobody else uses them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use platform::fs;
use thiserror::Error;

/// Why the data folders cannot be used.
#[derive(Debug, Error)]
pub(crate) enum FolderError {
    /// The disk refused.
    #[error(
        "cannot {action} \"{path}\": {source}; check that it is a folder this user may write to"
    )]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// Another process has it.
    #[error(
        "data folder \"{path}\" is in use by another broker; stop that one, or set log.dirs to another folder"
    )]
    InUse { path: PathBuf },
    /// It holds another cluster's or broker's data.
    #[error(
        "data folder \"{path}\" has {key} \"{found}\", not \"{expected}\"; set log.dirs to this broker's folder, or {way_out}"
    )]
    Foreign {
        path: PathBuf,
        key: &'static str,
        found: String,
        expected: String,
        way_out: String,
    },
    /// Its `meta.properties` is not readable as one.
    #[error("\"{path}\" is damaged: {problem}; restore it from a copy")]
    Damaged { path: PathBuf, problem: String },
}

const META: &str = "meta.properties";
const LOCK: &str = ".lock";

/// The data folders of a running broker; dropping it lets others use them.
#[derive(Debug)]
pub(crate) struct DataFolders {
    /// The cluster they belong to: 22 characters of base64.
    pub(crate) cluster_id: String,
    _locks: Vec<fs::FolderLock>,
}

impl DataFolders {
    /// Locks the folders, creating what is missing, and checks that they belong to this broker.
    /// An empty folder becomes part of the cluster of the others; if all are empty, they start
    /// `cluster_id`, or a cluster with a new id. Blocks.
    ///
    /// # Errors
    /// When a folder is in use, not usable, or someone else's.
    pub(crate) fn open(
        paths: &[PathBuf],
        node_id: i32,
        cluster_id: Option<&str>,
    ) -> Result<Self, FolderError> {
        let mut locks = Vec::with_capacity(paths.len());
        let mut found: Vec<Option<Meta>> = Vec::with_capacity(paths.len());
        for path in paths {
            fs::create_dir_all(path).map_err(fail("create", path))?;
            let lock = path.join(LOCK);
            locks.push(fs::FolderLock::acquire(&lock).map_err(|source| {
                if source.kind() == io::ErrorKind::WouldBlock {
                    FolderError::InUse { path: path.clone() }
                } else {
                    fail("lock", path)(source)
                }
            })?);
            found.push(Meta::read(&path.join(META))?);
        }
        let known = found.iter().flatten().next();
        let cluster_id = match (cluster_id, known) {
            (Some(configured), _) => configured.to_owned(),
            (None, Some(meta)) => meta.cluster_id.clone(),
            (None, None) => new_id(),
        };
        for (path, meta) in paths.iter().zip(found) {
            match meta {
                None => {
                    let meta = Meta {
                        cluster_id: cluster_id.clone(),
                        node_id,
                        directory_id: new_id(),
                    };
                    let file = path.join(META);
                    fs::write_atomic(&file, meta.print().as_bytes())
                        .map_err(fail("write", &file))?;
                }
                Some(meta) if meta.cluster_id != cluster_id => {
                    return Err(FolderError::Foreign {
                        path: path.clone(),
                        key: "cluster.id",
                        way_out:
                            "remove cluster.id from the configuration if that cluster is meant"
                                .to_owned(),
                        found: meta.cluster_id,
                        expected: cluster_id,
                    });
                }
                Some(meta) if meta.node_id != node_id => {
                    return Err(FolderError::Foreign {
                        path: path.clone(),
                        key: "node.id",
                        way_out: format!("set node.id to {} if that broker is meant", meta.node_id),
                        found: meta.node_id.to_string(),
                        expected: node_id.to_string(),
                    });
                }
                Some(_) => {}
            }
        }
        Ok(Self {
            cluster_id,
            _locks: locks,
        })
    }
}

fn fail(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::Io {
        action,
        path,
        source,
    }
}

/// A new random id as Kafka prints them: 16 bytes in URL-safe base64, never starting with a dash,
/// which command lines would take for an option.
pub(super) fn new_id() -> String {
    loop {
        let id = URL_SAFE_NO_PAD.encode(platform::random::uuid());
        if !id.starts_with('-') {
            return id;
        }
    }
}

/// What `meta.properties` says.
struct Meta {
    cluster_id: String,
    node_id: i32,
    directory_id: String,
}

impl Meta {
    fn read(path: &Path) -> Result<Option<Self>, FolderError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(FolderError::Damaged {
                    path: path.to_owned(),
                    problem: "it is not text".to_owned(),
                });
            }
            Err(error) => return Err(fail("read", path)(error)),
        };
        let damaged = |problem: String| FolderError::Damaged {
            path: path.to_owned(),
            problem,
        };
        let values: BTreeMap<&str, &str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.trim(), value.trim()))
            .collect();
        let get = |key: &str| {
            values
                .get(key)
                .ok_or_else(|| damaged(format!("it has no {key}")))
        };
        let node = get("node.id").or_else(|error| get("broker.id").map_err(|_| error))?;
        Ok(Some(Self {
            cluster_id: (*get("cluster.id")?).to_owned(),
            node_id: node
                .parse()
                .map_err(|_| damaged(format!("node.id \"{node}\" is not a number")))?,
            directory_id: values
                .get("directory.id")
                .map(|id| (*id).to_owned())
                .unwrap_or_default(),
        }))
    }

    fn print(&self) -> String {
        let mut text = String::from("#\n");
        for (key, value) in [
            ("cluster.id", self.cluster_id.as_str()),
            ("directory.id", self.directory_id.as_str()),
            ("node.id", self.node_id.to_string().as_str()),
            ("version", "1"),
        ] {
            // Writing to a String cannot fail.
            if writeln!(text, "{key}={value}").is_err() {
                break;
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_id_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [folder.path().join("a"), folder.path().join("b")];
        let first = DataFolders::open(&paths, 3, None).unwrap();
        assert_eq!(first.cluster_id.len(), 22);
        let id = first.cluster_id.clone();
        drop(first);
        assert_eq!(DataFolders::open(&paths, 3, None).unwrap().cluster_id, id);
        let text = std::fs::read_to_string(paths[0].join(META)).unwrap();
        assert!(
            text.contains("node.id=3\n") && text.contains("version=1\n"),
            "{text}"
        );
    }

    #[test]
    fn a_folder_in_use_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [folder.path().to_owned()];
        let _first = DataFolders::open(&paths, 0, None).unwrap();
        let error = DataFolders::open(&paths, 0, None).unwrap_err().to_string();
        assert!(error.contains("is in use by another broker"), "{error}");
        assert!(
            error.contains(&folder.path().display().to_string()),
            "{error}"
        );
    }

    #[test]
    fn another_brokers_or_clusters_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [folder.path().to_owned()];
        drop(DataFolders::open(&paths, 0, None).unwrap());
        let error = DataFolders::open(&paths, 1, None).unwrap_err().to_string();
        assert!(
            error.contains("set node.id to 0 if that broker is meant"),
            "{error}"
        );
        let error = DataFolders::open(&paths, 0, Some("other"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("cluster.id"), "{error}");
    }

    #[test]
    fn a_damaged_file_says_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(META), "version=1\nnode.id=0\n").unwrap();
        let error = DataFolders::open(&[folder.path().to_owned()], 0, None).unwrap_err();
        assert!(error.to_string().contains("has no cluster.id"), "{error}");
    }
}
