//! `connect plugins`: the connectors, transforms and predicates that are compiled into this program.

use connect_core::{plugin, transform};

use crate::{CliError, output, table};

/// Arguments of `connect plugins`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Leave out the line with the columns' names.
    #[arg(long)]
    pub no_headers: bool,
}

/// Lists the plugins.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(arguments: &Arguments) -> Result<(), CliError> {
    let mut rows: Vec<[String; 4]> = plugin::list()
        .into_iter()
        .map(|found| {
            let aliases: Vec<&str> = found.names().skip(1).collect();
            [
                found.class.to_owned(),
                found.kind.name().to_owned(),
                found.version.to_owned(),
                aliases.join(", "),
            ]
        })
        .collect();
    let transforms = transform::list().into_iter().map(|found| {
        [
            found.class,
            "transformation",
            found.version,
            found.simple_name(),
        ]
        .map(str::to_owned)
    });
    let predicates = transform::list_predicates().into_iter().map(|found| {
        [found.class, "predicate", found.version, found.simple_name()].map(str::to_owned)
    });
    rows.extend(transforms.chain(predicates));
    if !arguments.no_headers {
        rows.insert(
            0,
            ["CLASS", "KIND", "VERSION", "ALIASES"].map(str::to_owned),
        );
    }
    let widths = [0, 1, 2].map(|column| {
        table::width(
            0,
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(String::as_str),
        ) + 2
    });
    let text: String = rows
        .iter()
        .map(|row| table::row(&widths, row) + "\n")
        .collect();
    output::print(&text)
}
