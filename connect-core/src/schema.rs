//! Schemas: promises about values.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::value::Value;

/// Name of the logical type for exact decimal numbers; stored as bytes.
pub const DECIMAL: &str = "org.apache.kafka.connect.data.Decimal";
/// Name of the logical type for days; stored as int32.
pub const DATE: &str = "org.apache.kafka.connect.data.Date";
/// Name of the logical type for times of day; stored as int32.
pub const TIME: &str = "org.apache.kafka.connect.data.Time";
/// Name of the logical type for points in time; stored as int64.
pub const TIMESTAMP: &str = "org.apache.kafka.connect.data.Timestamp";
/// The parameter of a [`DECIMAL`] schema that holds the number of digits after the point.
pub const DECIMAL_SCALE: &str = "scale";

/// The type of a value, without its name or other attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// True or false.
    Boolean,
    /// 8-bit signed integer.
    Int8,
    /// 16-bit signed integer.
    Int16,
    /// 32-bit signed integer.
    Int32,
    /// 64-bit signed integer.
    Int64,
    /// 32-bit floating point number.
    Float32,
    /// 64-bit floating point number.
    Float64,
    /// Text.
    String,
    /// Bytes.
    Bytes,
    /// Values of one schema.
    Array,
    /// Keys of one schema to values of another.
    Map,
    /// Named fields.
    Struct,
}

impl Type {
    /// Whether values of this type have no parts.
    pub fn is_primitive(self) -> bool {
        !matches!(self, Type::Array | Type::Map | Type::Struct)
    }

    /// As error messages and Kafka's documentation spell it: `int32`, `float64`.
    pub fn name(self) -> &'static str {
        match self {
            Type::Boolean => "boolean",
            Type::Int8 => "int8",
            Type::Int16 => "int16",
            Type::Int32 => "int32",
            Type::Int64 => "int64",
            Type::Float32 => "float32",
            Type::Float64 => "float64",
            Type::String => "string",
            Type::Bytes => "bytes",
            Type::Array => "array",
            Type::Map => "map",
            Type::Struct => "struct",
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The logical meaning that a schema's name gives to its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Logical {
    /// [`DECIMAL`].
    Decimal,
    /// [`DATE`].
    Date,
    /// [`TIME`].
    Time,
    /// [`TIMESTAMP`].
    Timestamp,
}

/// One field of a struct schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name, unique within the struct.
    pub name: Cow<'static, str>,
    /// What it holds.
    pub schema: SchemaRef,
}

/// What a value is promised to be: a type, whether null is allowed, and what the outside world calls it.
///
/// Two schemas are equal if *all* attributes are. Built with [`Schema::builder`] and the shortcuts
/// beside it; shared as a [`SchemaRef`].
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    pub(crate) kind: Type,
    pub(crate) optional: bool,
    pub(crate) name: Option<Cow<'static, str>>,
    pub(crate) version: Option<i32>,
    pub(crate) doc: Option<Cow<'static, str>>,
    pub(crate) parameters: BTreeMap<Cow<'static, str>, Cow<'static, str>>,
    pub(crate) default: Option<Box<Value>>,
    pub(crate) fields: Vec<Field>,
    pub(crate) key: Option<SchemaRef>,
    pub(crate) value: Option<SchemaRef>,
}

impl Schema {
    const fn primitive(kind: Type, optional: bool) -> Self {
        Schema {
            kind,
            optional,
            name: None,
            version: None,
            doc: None,
            parameters: BTreeMap::new(),
            default: None,
            fields: Vec::new(),
            key: None,
            value: None,
        }
    }

    fn logical(kind: Type, name: &'static str) -> Self {
        let mut schema = Self::primitive(kind, false);
        schema.name = Some(Cow::Borrowed(name));
        schema.version = Some(1);
        schema
    }

    /// Starts a schema of a type without parts, or an empty struct.
    pub fn builder(kind: Type) -> SchemaBuilder {
        SchemaBuilder {
            schema: Self::primitive(kind, false),
        }
    }

    /// Starts a struct schema; add its fields with [`SchemaBuilder::field`].
    pub fn structure() -> SchemaBuilder {
        Self::builder(Type::Struct)
    }

    /// Starts an array schema.
    pub fn array(items: SchemaRef) -> SchemaBuilder {
        let mut builder = Self::builder(Type::Array);
        builder.schema.value = Some(items);
        builder
    }

    /// Starts a map schema.
    pub fn map(keys: SchemaRef, values: SchemaRef) -> SchemaBuilder {
        let mut builder = Self::builder(Type::Map);
        builder.schema.key = Some(keys);
        builder.schema.value = Some(values);
        builder
    }

    /// Starts the schema of decimal numbers with `scale` digits after the point.
    pub fn decimal(scale: i32) -> SchemaBuilder {
        let schema = Self::logical(Type::Bytes, DECIMAL);
        SchemaBuilder { schema }.parameter(DECIMAL_SCALE, scale.to_string())
    }

    /// Starts the schema of days.
    pub fn date() -> SchemaBuilder {
        SchemaBuilder {
            schema: Self::logical(Type::Int32, DATE),
        }
    }

    /// Starts the schema of times of day.
    pub fn time() -> SchemaBuilder {
        SchemaBuilder {
            schema: Self::logical(Type::Int32, TIME),
        }
    }

    /// Starts the schema of points in time.
    pub fn timestamp() -> SchemaBuilder {
        SchemaBuilder {
            schema: Self::logical(Type::Int64, TIMESTAMP),
        }
    }

    /// The type.
    pub fn kind(&self) -> Type {
        self.kind
    }

    /// Whether null is allowed.
    pub fn is_optional(&self) -> bool {
        self.optional
    }

    /// What the outside world calls it; a logical type's name for those.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Version of the schema.
    pub fn version(&self) -> Option<i32> {
        self.version
    }

    /// Documentation.
    pub fn doc(&self) -> Option<&str> {
        self.doc.as_deref()
    }

    /// Further attributes.
    pub fn parameters(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.parameters
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// One further attribute.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(AsRef::as_ref)
    }

    /// What stands for null.
    pub fn default(&self) -> Option<&Value> {
        self.default.as_deref()
    }

    /// The fields of a struct, in order; empty for other types.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The index and schema of a struct's field.
    pub fn field(&self, name: &str) -> Option<(usize, &Field)> {
        self.fields
            .iter()
            .enumerate()
            .find(|(_, field)| field.name == name)
    }

    /// What the keys of a map hold; `None` for other types.
    pub fn key_schema(&self) -> Option<&SchemaRef> {
        self.key.as_ref()
    }

    /// What an array or the values of a map hold; `None` for other types.
    pub fn value_schema(&self) -> Option<&SchemaRef> {
        self.value.as_ref()
    }

    /// The logical type that the schema's name stands for, if its type fits the name.
    pub fn logical_type(&self) -> Option<Logical> {
        match (self.name.as_deref()?, self.kind) {
            (DECIMAL, Type::Bytes) => Some(Logical::Decimal),
            (DATE, Type::Int32) => Some(Logical::Date),
            (TIME, Type::Int32) => Some(Logical::Time),
            (TIMESTAMP, Type::Int64) => Some(Logical::Timestamp),
            _ => None,
        }
    }

    /// Digits after the point of a decimal schema.
    pub fn decimal_scale(&self) -> Option<i32> {
        self.parameter(DECIMAL_SCALE)?.parse().ok()
    }
}

/// A shared schema: a static one or a reference count; 16 bytes, cheap to clone.
#[derive(Clone)]
pub struct SchemaRef(Shared);

#[derive(Clone)]
enum Shared {
    Static(&'static Schema),
    Counted(Arc<Schema>),
}

macro_rules! primitives {
    ($($kind:ident $required:ident $optional:ident),+ $(,)?) => {
        impl SchemaRef {
            $(
                #[doc = concat!("Required ", stringify!($kind), ".")]
                pub const $required: SchemaRef = {
                    static SCHEMA: Schema = Schema::primitive(Type::$kind, false);
                    SchemaRef::from_static(&SCHEMA)
                };
                #[doc = concat!("Optional ", stringify!($kind), ".")]
                pub const $optional: SchemaRef = {
                    static SCHEMA: Schema = Schema::primitive(Type::$kind, true);
                    SchemaRef::from_static(&SCHEMA)
                };
            )+

            /// The schema of a type without parts that has no attributes; `None` for array, map and struct.
            pub fn primitive(kind: Type, optional: bool) -> Option<SchemaRef> {
                match (kind, optional) {
                    $((Type::$kind, false) => Some(SchemaRef::$required), (Type::$kind, true) => Some(SchemaRef::$optional),)+
                    _ => None,
                }
            }
        }
    };
}

primitives! {
    Boolean BOOLEAN OPTIONAL_BOOLEAN,
    Int8 INT8 OPTIONAL_INT8,
    Int16 INT16 OPTIONAL_INT16,
    Int32 INT32 OPTIONAL_INT32,
    Int64 INT64 OPTIONAL_INT64,
    Float32 FLOAT32 OPTIONAL_FLOAT32,
    Float64 FLOAT64 OPTIONAL_FLOAT64,
    String STRING OPTIONAL_STRING,
    Bytes BYTES OPTIONAL_BYTES,
}

impl SchemaRef {
    /// A schema that lives as long as the program.
    pub const fn from_static(schema: &'static Schema) -> Self {
        SchemaRef(Shared::Static(schema))
    }

    /// Whether both are the same schema in memory; equal schemas need not be.
    pub fn same(&self, other: &SchemaRef) -> bool {
        std::ptr::eq::<Schema>(&**self, &**other)
    }
}

impl Deref for SchemaRef {
    type Target = Schema;

    fn deref(&self) -> &Schema {
        match &self.0 {
            Shared::Static(schema) => schema,
            Shared::Counted(schema) => schema,
        }
    }
}

impl From<Schema> for SchemaRef {
    fn from(schema: Schema) -> Self {
        SchemaRef(Shared::Counted(Arc::new(schema)))
    }
}

impl PartialEq for SchemaRef {
    fn eq(&self, other: &Self) -> bool {
        self.same(other) || **self == **other
    }
}

impl fmt::Debug for SchemaRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// Builds a schema; every setter gives the builder back.
#[derive(Debug, Clone)]
pub struct SchemaBuilder {
    schema: Schema,
}

impl SchemaBuilder {
    /// Allows null.
    pub fn optional(mut self) -> Self {
        self.schema.optional = true;
        self
    }

    /// Sets the name.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.schema.name = Some(name.into());
        self
    }

    /// Sets the version.
    pub fn version(mut self, version: i32) -> Self {
        self.schema.version = Some(version);
        self
    }

    /// Sets the documentation.
    pub fn doc(mut self, doc: impl Into<Cow<'static, str>>) -> Self {
        self.schema.doc = Some(doc.into());
        self
    }

    /// Sets what stands for null.
    pub fn default_value(mut self, value: impl Into<Value>) -> Self {
        self.schema.default = Some(Box::new(value.into()));
        self
    }

    /// Sets a further attribute.
    pub fn parameter(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.schema.parameters.insert(name.into(), value.into());
        self
    }

    /// Adds a field to a struct schema; a second field of the same name replaces the first.
    pub fn field(mut self, name: impl Into<Cow<'static, str>>, schema: SchemaRef) -> Self {
        let name = name.into();
        match self
            .schema
            .fields
            .iter_mut()
            .find(|field| field.name == name)
        {
            Some(field) => field.schema = schema,
            None => self.schema.fields.push(Field { name, schema }),
        }
        self
    }

    /// Sets what a map holds, as far as that is known.
    pub(crate) fn parts(mut self, keys: Option<SchemaRef>, values: Option<SchemaRef>) -> Self {
        self.schema.key = keys;
        self.schema.value = values;
        self
    }

    /// Adds a field whose name is known to be new.
    pub(crate) fn push_field(mut self, name: String, schema: SchemaRef) -> Self {
        self.schema.fields.push(Field {
            name: name.into(),
            schema,
        });
        self
    }

    /// The finished schema.
    pub fn build(self) -> SchemaRef {
        SchemaRef::from(self.schema)
    }
}
