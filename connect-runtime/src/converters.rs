//! The converters of one connector, found and set up once.

use bytes::Bytes;
use connect_core::converter::{self, SchemaAndValue};
use connect_core::{
    Attachment, ConfigMap, ConnectError, Converter, HeaderConverter, Headers, Problem, SinkRecord,
    SourceRecord, Str, TimestampType,
};
use kafka_client::{ProducerRecord, Record};
use std::sync::Arc;

use crate::config::connector::ConnectorConfig;
use crate::config::worker::ConverterConfig;
use crate::tolerance::{BadRecord, Consumed, Stage};

/// Key, value and header converter.
pub(crate) struct Converters {
    key: Named<dyn Converter>,
    value: Named<dyn Converter>,
    header: Named<dyn HeaderConverter>,
}

/// A call of a converter may wait on its task's thread, where no order to stop is seen. Whoever gives
/// that order has this, and lets go of it when the task has had its time.
pub(crate) struct Guard(Arc<Converters>);

impl Guard {
    /// Lets `work` run, and once it is out of patience does not let converters wait any more.
    pub(crate) async fn during<T>(
        self,
        work: impl Future<Output = T>,
        out_of_patience: impl Future<Output = ()>,
    ) -> T {
        let mut work = std::pin::pin!(work);
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = out_of_patience => drop(self),
        }
        work.await
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.key.converter.interrupt();
        self.0.value.converter.interrupt();
    }
}

/// A converter and its class.
struct Named<C: ?Sized> {
    class: &'static str,
    converter: Box<C>,
}

impl<C: ?Sized> Named<C> {
    /// What an error of it means for a record.
    fn failed(&self, stage: Stage, error: ConnectError) -> BadRecord {
        BadRecord {
            stage,
            class: self.class,
            error,
        }
    }
}

impl Converters {
    /// Finds and configures the converters of a connector.
    pub(crate) fn of(config: &ConnectorConfig) -> Result<Self, ConnectError> {
        Ok(Self {
            key: configured("key", &config.key_converter)?,
            value: configured("value", &config.value_converter)?,
            header: configured_header(&config.header_converter)?,
        })
    }

    /// Ends what waits for the world outside, once whoever has the guard is gone.
    pub(crate) fn guard(self: &Arc<Self>) -> Guard {
        Guard(Arc::clone(self))
    }

    /// Converters of text.
    #[cfg(test)]
    pub(crate) fn text() -> Self {
        let text = || ConverterConfig {
            class: "string".to_owned(),
            config: ConfigMap::new(),
        };
        Self {
            key: configured("key", &text()).unwrap(),
            value: configured("value", &text()).unwrap(),
            header: configured_header(&text()).unwrap(),
        }
    }

    /// A source's record as the producer takes it. With converters for text and bytes, key and
    /// value are moved.
    pub(crate) fn to_producer(&self, record: SourceRecord) -> Result<ProducerRecord, BadRecord> {
        let SourceRecord {
            topic,
            partition,
            key,
            key_schema,
            value,
            value_schema,
            headers,
            timestamp,
            position: _,
        } = record;
        let key = self
            .key
            .converter
            .from_connect(&topic, key_schema.as_ref(), key)
            .map_err(|error| self.key.failed(Stage::KeyConverter, error))
            .map_err(|bad| bad.context(format_args!("key for topic \"{topic}\"")))?;
        let value = self
            .value
            .converter
            .from_connect(&topic, value_schema.as_ref(), value)
            .map_err(|error| self.value.failed(Stage::ValueConverter, error))
            .map_err(|bad| bad.context(format_args!("value for topic \"{topic}\"")))?;
        let headers = match headers.is_empty() {
            true => Vec::new(),
            false => self.headers_to_producer(&topic, headers)?,
        };
        let timestamp = match timestamp {
            // How Kafka's protocol says that there is none.
            Some(-1) => None,
            Some(ms) if ms < 0 => {
                let error = ConnectError::record(format!(
                    "expected a timestamp of at least 0, got {ms}; without one the time of sending is \
                     taken"
                ));
                let bad = self.value.failed(Stage::ValueConverter, error);
                return Err(bad.context(format_args!("record for topic \"{topic}\"")));
            }
            timestamp => timestamp,
        };
        Ok(ProducerRecord {
            partition,
            timestamp,
            key,
            value,
            headers,
        })
    }

    fn headers_to_producer(
        &self,
        topic: &str,
        headers: Headers,
    ) -> Result<Vec<kafka_client::Header>, BadRecord> {
        let one = |header: connect_core::Header| {
            let key = header.key;
            let value = self
                .header
                .converter
                .from_connect_header(topic, &key, header.schema.as_ref(), header.value)
                .map_err(|error| self.header.failed(Stage::HeaderConverter, error))
                .map_err(|bad| bad.context(format_args!("header \"{}\"", key.as_str())))?;
            Ok(kafka_client::Header {
                key: key.into_bytes(),
                value,
            })
        };
        headers.into_iter().map(one).collect()
    }

    /// A consumed record as the sink takes it.
    pub(crate) fn to_sink(
        &self,
        topic: &Arc<str>,
        partition: i32,
        record: Record,
    ) -> Result<SinkRecord, BadRecord> {
        let Record {
            offset,
            timestamp,
            key,
            value,
            headers,
        } = record;
        let parts = Parts {
            offset,
            timestamp,
            key,
            value,
            headers: &headers,
        };
        self.parts_to_sink(topic, partition, parts)
    }

    /// As [`to_sink`](Self::to_sink), and the record stays as it was read.
    pub(crate) fn copy_to_sink(
        &self,
        topic: &Arc<str>,
        consumed: Consumed<'_>,
    ) -> Result<SinkRecord, BadRecord> {
        let record = consumed.record;
        let parts = Parts {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.clone(),
            value: record.value.clone(),
            headers: &record.headers,
        };
        self.parts_to_sink(topic, consumed.partition, parts)
    }

    fn parts_to_sink(
        &self,
        topic: &Arc<str>,
        partition: i32,
        parts: Parts<'_>,
    ) -> Result<SinkRecord, BadRecord> {
        let Parts {
            offset,
            timestamp,
            key,
            value,
            headers,
        } = parts;
        let place = |bad: BadRecord, part: &str| {
            bad.context(format_args!(
                "{part} of {topic}-{partition} offset {offset}"
            ))
        };
        let (key_schema, key) = self
            .key
            .converter
            .to_connect(topic, key)
            .map_err(|error| place(self.key.failed(Stage::KeyConverter, error), "key"))?;
        let (value_schema, value) = self
            .value
            .converter
            .to_connect(topic, value)
            .map_err(|error| place(self.value.failed(Stage::ValueConverter, error), "value"))?;
        let headers = match headers.is_empty() {
            true => Headers::new(),
            false => self
                .headers_to_sink(topic, headers)
                .map_err(|bad| place(bad, "header"))?,
        };
        Ok(SinkRecord {
            topic: Arc::clone(topic),
            partition,
            offset,
            timestamp: (timestamp >= 0).then_some(timestamp),
            timestamp_type: TimestampType::CreateTime,
            key,
            key_schema,
            value,
            value_schema,
            headers,
            original: None,
            attachment: Attachment::default(),
        })
    }

    fn headers_to_sink(
        &self,
        topic: &str,
        headers: &[kafka_client::Header],
    ) -> Result<Headers, BadRecord> {
        let one = |header: &kafka_client::Header| {
            let key = Str::from_utf8_lossy(header.key.clone());
            let (schema, value): SchemaAndValue = self
                .header
                .converter
                .to_connect_header(topic, &key, header.value.clone())
                .map_err(|error| self.header.failed(Stage::HeaderConverter, error))
                .map_err(|bad| bad.context(format_args!("\"{}\"", key.as_str())))?;
            Ok(connect_core::Header { key, value, schema })
        };
        headers.iter().map(one).collect()
    }
}

/// A consumed record, its headers only looked at.
struct Parts<'a> {
    offset: i64,
    timestamp: i64,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: &'a [kafka_client::Header],
}

fn configured(role: &str, config: &ConverterConfig) -> Result<Named<dyn Converter>, ConnectError> {
    let info = converter::info(&config.class)?;
    let mut found = (info.make)();
    found
        .configure(&config.config, role == "key")
        .map_err(|problems| {
            ConnectError::from(problems).context(format_args!("{role}.converter"))
        })?;
    Ok(Named {
        class: info.class,
        converter: found,
    })
}

fn configured_header(config: &ConverterConfig) -> Result<Named<dyn HeaderConverter>, ConnectError> {
    let info = converter::header_info(&config.class)?;
    let mut found = (info.make)();
    found
        .configure(&config.config)
        .map_err(|problems| ConnectError::from(problems).context("header.converter"))?;
    Ok(Named {
        class: info.class,
        converter: found,
    })
}

/// What is wrong with a converter's class (a problem without key) or its own keys.
pub(crate) fn check(role: &str, class: &str, config: &ConfigMap) -> Vec<Problem> {
    let class = class.trim();
    let configured = match role {
        "header" => converter::find_header(class).map(|mut found| found.configure(config)),
        _ => converter::find(class).map(|mut found| found.configure(config, role == "key")),
    };
    match configured {
        Ok(Ok(())) => Vec::new(),
        Ok(Err(problems)) => problems,
        Err(error) => vec![Problem::new("", error.report())],
    }
}
