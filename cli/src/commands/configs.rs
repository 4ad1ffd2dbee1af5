//! `connect configs`, the same as `kafka-configs`, for topics, brokers and groups.

use std::path::PathBuf;

use kafka_client::{
    Admin, AlterConfigOp, ClientError, ConfigAlteration, ConfigEntry, ConfigResource,
    ConfigResourceType, ConfigSource,
};

use crate::connection::{self, ConnectionArguments};
use crate::invocation::Invocation;
use crate::{CliError, output, properties};

/// Arguments of `connect configs`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Options for the connection to the cluster.
    #[command(flatten)]
    pub connection: ConnectionArguments,
    /// Show settings.
    #[arg(long)]
    pub describe: bool,
    /// Change settings.
    #[arg(long)]
    pub alter: bool,
    /// topics, brokers or groups.
    #[arg(long, value_name = "TYPE")]
    pub entity_type: Option<String>,
    /// The topic, broker id or group.
    #[arg(long, value_name = "NAME")]
    pub entity_name: Option<String>,
    /// The defaults of all brokers.
    #[arg(long)]
    pub entity_default: bool,
    /// The topic.
    #[arg(long)]
    pub topic: Option<String>,
    /// The broker's id.
    #[arg(long, value_name = "ID")]
    pub broker: Option<String>,
    /// The defaults of all brokers.
    #[arg(long)]
    pub broker_defaults: bool,
    /// The group.
    #[arg(long)]
    pub group: Option<String>,
    /// With --describe, also what nobody has set.
    #[arg(long)]
    pub all: bool,
    /// Settings to change: KEY=VALUE, several with commas; [ ] around a value with commas.
    #[arg(long, value_name = "SETTINGS")]
    pub add_config: Option<String>,
    /// A .properties file with settings to change.
    #[arg(long, value_name = "FILE")]
    pub add_config_file: Option<PathBuf>,
    /// Settings to take back to their defaults: KEY, several with commas.
    #[arg(long, value_name = "KEYS", value_delimiter = ',')]
    pub delete_config: Vec<String>,
}

/// A kind of thing with settings, and perhaps one of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entity {
    kind: ConfigResourceType,
    /// `None` means all; the empty name is the default of all brokers.
    name: Option<String>,
}

/// Does what the arguments ask for.
///
/// # Errors
/// Arguments that don't fit together, and whatever the cluster refuses.
pub fn run(arguments: &Arguments, invocation: &Invocation) -> Result<(), CliError> {
    let entity = check(arguments).map_err(|message| invocation.usage(message))?;
    let alterations = if arguments.alter {
        alterations(arguments, invocation)?
    } else {
        Vec::new()
    };
    let properties = arguments.connection.properties(invocation)?;
    connection::block_on(async {
        let client = connection::connect(&properties, "configs").await?;
        let admin = client.admin();
        let result = match &entity.name {
            Some(name) if arguments.alter => alter(&admin, &entity, name, &alterations).await,
            _ => describe(&admin, &entity, arguments.all).await,
        };
        client.close().await;
        result
    })
}

fn check(arguments: &Arguments) -> Result<Entity, String> {
    if arguments.describe == arguments.alter {
        return Err("Command must include exactly one action: --describe, --alter.".into());
    }
    let entity = entity(arguments)?;
    let changes = arguments.add_config.is_some()
        || arguments.add_config_file.is_some()
        || !arguments.delete_config.is_empty();
    if arguments.alter && !changes {
        return Err("At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter.".into());
    }
    if arguments.describe && changes {
        return Err("--add-config, --add-config-file and --delete-config need --alter.".into());
    }
    if arguments.add_config.is_some() && arguments.add_config_file.is_some() {
        return Err("Only one of --add-config or --add-config-file must be specified.".into());
    }
    if arguments.alter && entity.name.is_none() {
        return Err("An entity name must be specified with --alter.".into());
    }
    Ok(entity)
}

fn entity(arguments: &Arguments) -> Result<Entity, String> {
    let long = arguments
        .entity_type
        .as_deref()
        .map(|kind| (kind, arguments.entity_name.clone()));
    let short = [
        ("topics", arguments.topic.clone()),
        ("brokers", arguments.broker.clone()),
        ("brokers", arguments.broker_defaults.then(String::new)),
        ("groups", arguments.group.clone()),
    ];
    let named = short.into_iter().filter(|(_, name)| name.is_some());
    let all: Vec<(&str, Option<String>)> = long.into_iter().chain(named).collect();
    let (kind, name) = match all.as_slice() {
        [one] => one.clone(),
        [] => {
            return Err("At least one of --entity-type, --topic, --broker, --broker-defaults or --group must be specified.".into());
        }
        _ => return Err("Only one entity can be described or altered at a time.".into()),
    };
    let kind = match kind {
        "topics" => ConfigResourceType::Topic,
        "brokers" => ConfigResourceType::Broker,
        "groups" => ConfigResourceType::Group,
        other => {
            return Err(format!(
                "Invalid entity type {other}, the entity type must be one of topics, brokers, groups."
            ));
        }
    };
    if arguments.entity_default && kind != ConfigResourceType::Broker {
        return Err("--entity-default is only for brokers.".into());
    }
    let name = if arguments.entity_default {
        Some(String::new())
    } else {
        name
    };
    if kind == ConfigResourceType::Broker {
        let is_id = |name: &String| name.is_empty() || name.parse::<i32>().is_ok();
        if let Some(wrong) = name.iter().find(|name| !is_id(name)) {
            return Err(format!(
                "The entity name for brokers must be a valid integer broker id, but it is: {wrong}"
            ));
        }
    }
    Ok(Entity { kind, name })
}

fn alterations(
    arguments: &Arguments,
    invocation: &Invocation,
) -> Result<Vec<ConfigAlteration>, CliError> {
    let set = |(name, value): (String, String)| ConfigAlteration {
        name,
        op: AlterConfigOp::Set,
        value: Some(value),
    };
    let mut all: Vec<ConfigAlteration> = arguments
        .delete_config
        .iter()
        .map(|name| ConfigAlteration {
            name: name.trim().to_owned(),
            op: AlterConfigOp::Delete,
            value: None,
        })
        .collect();
    if let Some(path) = &arguments.add_config_file {
        all.extend(
            properties::load(path)?
                .values()
                .clone()
                .into_iter()
                .map(set),
        );
    }
    if let Some(text) = &arguments.add_config {
        let pairs = parse_pairs(text).map_err(|message| invocation.usage(message))?;
        all.extend(pairs.into_iter().map(set));
    }
    Ok(all)
}

/// `a=1,b=[2,3]` as pairs; commas within brackets belong to the value.
fn parse_pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut parts = vec![String::new()];
    let mut depth = 0_i32;
    for character in text.chars() {
        match character {
            '[' => depth += 1,
            ']' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(character);
        }
    }
    parts
        .iter()
        .map(|part| match part.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                Ok((key.trim().to_owned(), value.replace(['[', ']'], "").trim().to_owned()))
            }
            _ => Err(format!(
                "Invalid entity config: all configs to be added must be in the format \"key=val\" or \
                 \"key=[val1,val2]\" to group values which contain commas, but got \"{part}\"."
            )),
        })
        .collect()
}

async fn alter(
    admin: &Admin,
    entity: &Entity,
    name: &str,
    alterations: &[ConfigAlteration],
) -> Result<(), CliError> {
    let resource = ConfigResource {
        kind: entity.kind,
        name: name.to_owned(),
    };
    let current = entries(admin, &resource).await?;
    let absent: Vec<&str> = alterations
        .iter()
        .filter(|change| change.op == AlterConfigOp::Delete)
        .map(|change| change.name.as_str())
        .filter(|key| {
            !current
                .iter()
                .any(|entry| entry.name == *key && is_own(entry, &resource))
        })
        .collect();
    if !absent.is_empty() {
        return Err(CliError::failed(format!(
            "Invalid config(s): {}",
            absent.join(",")
        )));
    }
    admin
        .incremental_alter_configs(&resource, alterations, false)
        .await
        .map_err(|error| refused(&error))?;
    if name.is_empty() {
        output::line("Completed updating default config for brokers in the cluster.")
    } else {
        output::line(&format!(
            "Completed updating config for {} {name}.",
            singular(entity.kind)
        ))
    }
}

async fn describe(admin: &Admin, entity: &Entity, all: bool) -> Result<(), CliError> {
    let names = match &entity.name {
        Some(name) => vec![name.clone()],
        None => every_name(admin, entity.kind).await?,
    };
    let mut text = String::new();
    for name in names {
        let resource = ConfigResource {
            kind: entity.kind,
            name,
        };
        let entries = entries(admin, &resource).await?;
        text.push_str(&described(&resource, &entries, all));
    }
    output::print(&text)
}

async fn every_name(admin: &Admin, kind: ConfigResourceType) -> Result<Vec<String>, CliError> {
    let mut names: Vec<String> = match kind {
        ConfigResourceType::Topic => admin
            .list_topics()
            .await
            .map_err(|error| refused(&error))?
            .into_iter()
            .map(|topic| topic.name)
            .collect(),
        ConfigResourceType::Group => admin
            .list_groups()
            .await
            .map_err(|error| refused(&error))?
            .into_iter()
            .map(|group| group.group)
            .collect(),
        _ => {
            let cluster = admin
                .describe_cluster()
                .await
                .map_err(|error| refused(&error))?;
            // The empty name stands for the defaults of all brokers, which Kafka lists last.
            cluster
                .brokers
                .iter()
                .map(|broker| broker.id.to_string())
                .collect()
        }
    };
    names.sort();
    if kind == ConfigResourceType::Broker {
        names.push(String::new());
    }
    Ok(names)
}

async fn entries(admin: &Admin, resource: &ConfigResource) -> Result<Vec<ConfigEntry>, CliError> {
    let answers = admin
        .describe_configs(std::slice::from_ref(resource))
        .await
        .map_err(|error| refused(&error))?;
    let mut entries = Vec::new();
    for (_, answer) in answers {
        entries.extend(answer.map_err(|error| refused(&error))?);
    }
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

fn described(resource: &ConfigResource, entries: &[ConfigEntry], all: bool) -> String {
    let mut text = match resource {
        ConfigResource {
            kind: ConfigResourceType::Broker,
            name,
        } if name.is_empty() => "Default configs for brokers in the cluster are:\n".to_owned(),
        ConfigResource { kind, name } => {
            let which = if all { "All" } else { "Dynamic" };
            format!("{which} configs for {} {name} are:\n", singular(*kind))
        }
    };
    let shown = |value: &Option<String>| value.as_deref().unwrap_or("null").to_owned();
    for entry in entries
        .iter()
        .filter(|entry| all || is_own(entry, resource))
    {
        let synonyms: Vec<String> = entry
            .synonyms
            .iter()
            .map(|(name, value, source)| format!("{}:{name}={}", source.name(), shown(value)))
            .collect();
        text.push_str(&format!(
            "  {}={} sensitive={} synonyms={{{}}}\n",
            entry.name,
            shown(&entry.value),
            entry.sensitive,
            synonyms.join(", ")
        ));
    }
    text
}

/// Whether somebody set it for this very resource while the cluster was running.
fn is_own(entry: &ConfigEntry, resource: &ConfigResource) -> bool {
    match entry.source {
        ConfigSource::Default | ConfigSource::StaticBroker | ConfigSource::Unknown(_) => false,
        ConfigSource::DynamicDefaultBroker => resource.name.is_empty(),
        _ => true,
    }
}

fn singular(kind: ConfigResourceType) -> &'static str {
    match kind {
        ConfigResourceType::Topic => "topic",
        ConfigResourceType::Group => "group",
        _ => "broker",
    }
}

fn refused(error: &ClientError) -> CliError {
    CliError::failed(format!("Error while executing config command: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_keep_a_list_together() {
        let pairs = parse_pairs("cleanup.policy=[compact,delete], retention.ms = 5 ,x=").unwrap();
        let expected = [
            ("cleanup.policy", "compact,delete"),
            ("retention.ms", "5"),
            ("x", ""),
        ];
        assert_eq!(
            pairs,
            expected.map(|(key, value)| (key.to_owned(), value.to_owned()))
        );
        assert!(parse_pairs("retention.ms").is_err());
    }

    #[test]
    fn settings_are_shown_in_kafkas_layout() {
        let entry = ConfigEntry {
            name: "retention.ms".to_owned(),
            value: Some("5".to_owned()),
            source: ConfigSource::Topic,
            sensitive: false,
            read_only: false,
            synonyms: vec![(
                "retention.ms".to_owned(),
                Some("5".to_owned()),
                ConfigSource::Topic,
            )],
            documentation: None,
        };
        assert_eq!(
            described(&ConfigResource::topic("t"), &[entry], false),
            "Dynamic configs for topic t are:\n  \
             retention.ms=5 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=5}\n"
        );
    }
}
