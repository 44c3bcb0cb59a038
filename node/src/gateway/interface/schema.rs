//! Shapes of JSON, as constants: small enough to stand beside a handler, enough for JSON Schema 2020-12.

use serde_json::{Map, Value, json};

/// The shape of one value.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code, reason = "a vocabulary: a word is here before the first call that needs it")]
pub(in crate::gateway) enum Schema {
    /// Any text of up to this many characters.
    Text(usize),
    /// A text of 1 to this many characters that nobody should see.
    Secret(usize),
    /// A text that matches this pattern (ECMA-262).
    Like(&'static str),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A moment (RFC 3339).
    Time,
    /// A whole number, from and to.
    Number(u64, u64),
    /// True or false.
    Flag,
    /// A list of up to this many.
    List(&'static Schema, usize),
    /// A list of one to this many.
    Some(&'static Schema, usize),
    /// An object with these fields, and perhaps more.
    Object(&'static [Field]),
    /// This, or null.
    Maybe(&'static Schema),
    /// One of these.
    Either(&'static [Schema]),
    /// A shape with a name of its own, written once.
    Named(&'static str, &'static Schema),
    /// Any value.
    Any,
}

/// One field of an object, or one parameter of a request.
#[derive(Debug, Clone, Copy)]
pub(in crate::gateway) struct Field {
    pub(in crate::gateway) name: &'static str,
    pub(in crate::gateway) schema: Schema,
    pub(in crate::gateway) required: bool,
    pub(in crate::gateway) about: &'static str,
}

/// A field that must be there.
pub(in crate::gateway) const fn field(name: &'static str, schema: Schema) -> Field {
    Field { name, schema, required: true, about: "" }
}

/// A field that may be left out.
pub(in crate::gateway) const fn optional(name: &'static str, schema: Schema) -> Field {
    Field { name, schema, required: false, about: "" }
}

impl Field {
    /// With a sentence about it.
    #[must_use]
    pub(in crate::gateway) const fn says(mut self, about: &'static str) -> Self {
        self.about = about;
        self
    }
}

/// Where named shapes stand in both documents.
const COMPONENTS: &str = "#/components/schemas/";
/// Largest whole number that every JSON reader keeps exactly (RFC 8259, 6).
pub(in crate::gateway) const EXACT_MAX: u64 = (1 << 53) - 1;

impl Schema {
    /// The JSON Schema; shapes with names are gathered in `named`.
    pub(in crate::gateway) fn json(&self, named: &mut Map<String, Value>) -> Value {
        match self {
            Self::Text(most) => json!({ "type": "string", "maxLength": most }),
            Self::Secret(most) => json!({
                "type": "string", "minLength": 1, "maxLength": most, "format": "password",
            }),
            Self::Like(pattern) => json!({ "type": "string", "pattern": pattern }),
            Self::OneOf(texts) => json!({ "type": "string", "enum": texts }),
            Self::Time => json!({ "type": "string", "format": "date-time" }),
            Self::Number(least, most) => {
                json!({ "type": "integer", "minimum": least, "maximum": most })
            }
            Self::Flag => json!({ "type": "boolean" }),
            Self::List(of, most) => {
                json!({ "type": "array", "items": of.json(named), "maxItems": most })
            }
            Self::Some(of, most) => {
                json!({ "type": "array", "items": of.json(named), "minItems": 1, "maxItems": most })
            }
            Self::Object(fields) => object(fields, named),
            Self::Maybe(of) => json!({ "anyOf": [of.json(named), { "type": "null" }] }),
            Self::Either(these) => {
                let these: Vec<Value> = these.iter().map(|one| one.json(named)).collect();
                json!({ "anyOf": these })
            }
            Self::Named(name, of) => {
                if !named.contains_key(*name) {
                    // A place first, so that a shape that names itself ends.
                    named.insert((*name).to_owned(), Value::Null);
                    let shape = of.json(named);
                    named.insert((*name).to_owned(), shape);
                }
                json!({ "$ref": format!("{COMPONENTS}{name}") })
            }
            Self::Any => json!({}),
        }
    }

    /// In a few words, for people.
    pub(in crate::gateway) fn words(&self) -> String {
        match self {
            Self::Text(_) | Self::Secret(_) => "text".to_owned(),
            Self::Like(pattern) => format!("text like {pattern}"),
            Self::OneOf(texts) => texts.join(" or "),
            Self::Time => "time (RFC 3339)".to_owned(),
            Self::Number(least, EXACT_MAX) => format!("number from {least}"),
            Self::Number(least, most) => format!("number {least} to {most}"),
            Self::Flag => "true or false".to_owned(),
            Self::List(of, most) | Self::Some(of, most) => {
                format!("list of up to {most}: {}", of.words())
            }
            Self::Object(fields) => {
                let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
                format!("object with {}", names.join(", "))
            }
            Self::Maybe(of) => format!("{} or null", of.words()),
            Self::Either(these) => these.iter().map(Self::words).collect::<Vec<_>>().join(", or "),
            Self::Named(name, _) => (*name).to_owned(),
            Self::Any => "any value".to_owned(),
        }
    }
}

/// An object of these fields. More may come: readers pass over what they do not know.
pub(super) fn object(fields: &[Field], named: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    for field in fields {
        let mut schema = field.schema.json(named);
        if !field.about.is_empty() {
            schema["description"] = field.about.into();
        }
        properties.insert(field.name.to_owned(), schema);
    }
    let required: Vec<&str> =
        fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}
