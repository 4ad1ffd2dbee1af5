//! The data folders as a whole: whose they are, and that nobody else uses them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use platform::fs;
use thiserror::Error;

use crate::log::checkpoint_name as name;

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
/// Says in which boot of the machine the folder was last in use.
const BOOT: &str = ".boot";

/// The data folders of a running broker; dropping it lets others use them.
#[derive(Debug)]
pub(crate) struct DataFolders {
    /// The cluster they belong to, 22 characters of base64; none while they belong to none.
    pub(crate) cluster_id: Option<String>,
    /// Id of the first folder: another one is another disk.
    pub(crate) directory: String,
    /// The last stop may have cost records that were acknowledged: it was not in order, and the
    /// machine has been started since. A process that is killed loses nothing.
    pub(crate) lost_records: bool,
    node_id: i32,
    folders: Vec<DataFolder>,
    _locks: Vec<fs::FolderLock>,
}

#[derive(Debug)]
struct DataFolder {
    path: PathBuf,
    directory: String,
    /// What its `meta.properties` says, if there is one.
    written: Option<Meta>,
}

impl DataFolders {
    /// Locks the folders, creating what is missing, and checks that they belong to this broker and
    /// to `cluster_id`, if that is given. Writes nothing else. Blocks.
    ///
    /// # Errors
    /// When a folder is in use, not usable, or someone else's.
    pub(crate) fn open(
        paths: &[PathBuf],
        node_id: i32,
        cluster_id: Option<&str>,
    ) -> Result<Self, FolderError> {
        let mut locks = Vec::with_capacity(paths.len());
        let mut folders = Vec::with_capacity(paths.len());
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
            let written = Meta::read(&path.join(META))?;
            let directory = written
                .as_ref()
                .map(|meta| meta.directory_id.clone())
                .filter(|id| !id.is_empty())
                .unwrap_or_else(new_id);
            folders.push(DataFolder {
                path: path.clone(),
                directory,
                written,
            });
        }
        let known = folders
            .iter()
            .find_map(|folder| folder.written.as_ref()?.cluster_id.clone());
        let mut opened = Self {
            cluster_id: None,
            directory: folders
                .first()
                .map(|folder| folder.directory.clone())
                .unwrap_or_default(),
            lost_records: folders.iter().any(DataFolder::may_have_lost_records),
            node_id,
            folders,
            _locks: locks,
        };
        let cluster_id = cluster_id.map(str::to_owned).or_else(|| known.clone());
        if let Some(cluster_id) = &cluster_id {
            opened.check(cluster_id)?;
        }
        opened.cluster_id = known.and(cluster_id);
        Ok(opened)
    }

    /// Gives the first folder its id on disk before anybody is told of it. Blocks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn prepare(&mut self) -> Result<(), FolderError> {
        match &self.cluster_id {
            Some(_) => Ok(()),
            None => self.write(None),
        }
    }

    /// From now on the folders belong to `cluster_id`. Blocks.
    ///
    /// # Errors
    /// When they belong to another, or the disk refuses.
    pub(crate) fn belong_to(&mut self, cluster_id: &str) -> Result<(), FolderError> {
        self.check(cluster_id)?;
        self.write(Some(cluster_id))?;
        self.cluster_id = Some(cluster_id.to_owned());
        Ok(())
    }

    /// Notes the boot of the machine, once it is known to the cluster what an earlier one cost: up
    /// to then, a further start has to say so again. Blocks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn remember_boot(&self) -> Result<(), FolderError> {
        let boot = platform::host::boot_id();
        for folder in &self.folders {
            let path = folder.path.join(BOOT);
            if fs::read_to_string(&path).is_ok_and(|known| known == boot) {
                continue;
            }
            fs::write_atomic(&path, boot.as_bytes()).map_err(fail("write", &path))?;
        }
        Ok(())
    }

    fn check(&self, cluster_id: &str) -> Result<(), FolderError> {
        for folder in &self.folders {
            let Some(meta) = &folder.written else {
                continue;
            };
            if let Some(found) = &meta.cluster_id
                && found != cluster_id
            {
                return Err(FolderError::Foreign {
                    path: folder.path.clone(),
                    key: "cluster.id",
                    way_out: "remove cluster.id from the configuration if that cluster is meant"
                        .to_owned(),
                    found: found.clone(),
                    expected: cluster_id.to_owned(),
                });
            }
        }
        for folder in &self.folders {
            if let Some(meta) = &folder.written
                && meta.node_id != self.node_id
            {
                return Err(FolderError::Foreign {
                    path: folder.path.clone(),
                    key: "node.id",
                    way_out: format!("set node.id to {} if that broker is meant", meta.node_id),
                    found: meta.node_id.to_string(),
                    expected: self.node_id.to_string(),
                });
            }
        }
        Ok(())
    }

    /// Writes what the folders do not say yet.
    fn write(&mut self, cluster_id: Option<&str>) -> Result<(), FolderError> {
        for folder in &mut self.folders {
            let meta = Meta {
                cluster_id: cluster_id.map(str::to_owned),
                node_id: self.node_id,
                directory_id: folder.directory.clone(),
            };
            if folder.written.as_ref() != Some(&meta) {
                let file = folder.path.join(META);
                fs::write_atomic(&file, meta.print().as_bytes()).map_err(fail("write", &file))?;
                folder.written = Some(meta);
            }
        }
        Ok(())
    }
}

impl DataFolder {
    fn may_have_lost_records(&self) -> bool {
        let used = self
            .written
            .as_ref()
            .is_some_and(|meta| meta.cluster_id.is_some());
        let in_order = || fs::exists(&self.path.join(name::CLEAN_SHUTDOWN));
        let same_boot = || {
            let boot = platform::host::boot_id();
            !boot.is_empty()
                && fs::read_to_string(&self.path.join(BOOT)).is_ok_and(|known| known == boot)
        };
        used && !in_order() && !same_boot()
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
pub(crate) fn new_id() -> String {
    loop {
        let id = URL_SAFE_NO_PAD.encode(platform::random::uuid());
        if !id.starts_with('-') {
            return id;
        }
    }
}

/// What `meta.properties` says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Meta {
    /// None while the folder is in no cluster; it has its id by then.
    cluster_id: Option<String>,
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
        let directory_id = values.get("directory.id").map(|id| (*id).to_owned());
        let cluster_id = match (get("cluster.id"), &directory_id) {
            (Ok(id), _) => Some((*id).to_owned()),
            (Err(_), Some(_)) => None,
            (Err(error), None) => return Err(error),
        };
        Ok(Some(Self {
            cluster_id,
            node_id: node
                .parse()
                .map_err(|_| damaged(format!("node.id \"{node}\" is not a number")))?,
            directory_id: directory_id.unwrap_or_default(),
        }))
    }

    fn print(&self) -> String {
        let mut text = String::from("#\n");
        let node_id = self.node_id.to_string();
        let cluster_id = self.cluster_id.as_deref().map(|id| ("cluster.id", id));
        for (key, value) in cluster_id.into_iter().chain([
            ("directory.id", self.directory_id.as_str()),
            ("node.id", node_id.as_str()),
            ("version", "1"),
        ]) {
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

    /// Opens the folders of a broker that is in a cluster.
    fn founded(paths: &[PathBuf], node_id: i32) -> DataFolders {
        let mut folders = DataFolders::open(paths, node_id, None).unwrap();
        let id = folders.cluster_id.clone().unwrap_or_else(new_id);
        folders.belong_to(&id).unwrap();
        folders
    }

    #[test]
    fn folders_keep_their_cluster_and_their_ids() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [folder.path().join("a"), folder.path().join("b")];
        let mut first = DataFolders::open(&paths, 3, None).unwrap();
        assert_eq!(first.cluster_id, None);
        first.prepare().unwrap();
        let directory = first.directory.clone();
        drop(first);
        let mut second = DataFolders::open(&paths, 3, None).unwrap();
        assert_eq!((&second.directory, &second.cluster_id), (&directory, &None));
        second.belong_to("cluster").unwrap();
        assert!(second.belong_to("another").is_err());
        drop(second);
        let third = DataFolders::open(&paths, 3, None).unwrap();
        assert_eq!(third.cluster_id.as_deref(), Some("cluster"));
        assert_eq!(third.directory, directory);
        let text = std::fs::read_to_string(paths[0].join(META)).unwrap();
        assert!(
            text.contains("node.id=3\n") && text.contains("version=1\n"),
            "{text}"
        );
    }

    #[test]
    fn records_may_be_lost_by_a_power_cut_but_not_by_a_kill() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [folder.path().to_owned()];
        let open = || DataFolders::open(&paths, 0, None).unwrap().lost_records;
        let first = founded(&paths, 0);
        assert!(!first.lost_records, "there was nothing to lose");
        first.remember_boot().unwrap();
        drop(first);
        assert!(!open(), "killed");
        std::fs::write(folder.path().join(BOOT), "another boot").unwrap();
        assert!(open(), "the machine went down");
        assert!(open(), "as long as nobody was told");
        std::fs::write(folder.path().join(name::CLEAN_SHUTDOWN), "").unwrap();
        assert!(!open(), "it had stopped in order");
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
        drop(founded(&paths, 0));
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
