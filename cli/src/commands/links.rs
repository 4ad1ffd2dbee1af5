//! `connect links DIR`: links under the names of Kafka's tools, with and without `.sh`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::CliError;
use crate::invocation::KAFKA_NAMES;
use crate::output;

/// Arguments of `connect links`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The folder for the links, made if it is missing; put it on your PATH.
    pub folder: PathBuf,
}

/// Makes the links.
///
/// # Errors
/// When the folder cannot be made, or a file that is no link already has one of the names.
pub fn run(arguments: &Arguments) -> Result<(), CliError> {
    let program = std::env::current_exe().map_err(|error| {
        CliError::failed(format!("cannot find out where this program is: {error}"))
    })?;
    let folder = &arguments.folder;
    fs::create_dir_all(folder).map_err(|error| {
        CliError::failed(format!(
            "cannot make the folder \"{}\": {error}",
            folder.display()
        ))
    })?;
    for (name, _) in KAFKA_NAMES {
        link(&program, &folder.join(name))?;
        link(&program, &folder.join(format!("{name}.sh")))?;
    }
    output::line(&format!(
        "Made {} links to {} in {}; try: {}",
        KAFKA_NAMES.len() * 2,
        program.display(),
        folder.display(),
        folder.join("kafka-topics").display()
    ))
}

fn link(program: &Path, place: &Path) -> Result<(), CliError> {
    match fs::symlink_metadata(place) {
        Ok(found) if found.is_symlink() => fs::remove_file(place).map_err(|error| {
            CliError::failed(format!(
                "cannot replace the link \"{}\": {error}",
                place.display()
            ))
        })?,
        Ok(_) => {
            return Err(CliError::failed(format!(
                "\"{}\" exists and is no link; remove it or choose another folder",
                place.display()
            )));
        }
        Err(_) => {}
    }
    symlink(program, place).map_err(|error| {
        CliError::failed(format!(
            "cannot make the link \"{}\": {error}",
            place.display()
        ))
    })
}
