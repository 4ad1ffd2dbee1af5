//! What `#[config(…)]` and doc comments say.

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprRange, Lit, LitStr, RangeLimits, Token};

/// The attributes of a field.
#[derive(Default)]
pub(crate) struct FieldAttributes {
    pub(crate) key: Option<LitStr>,
    pub(crate) default: Option<String>,
    pub(crate) range: Option<TokenStream>,
    pub(crate) choices: Vec<LitStr>,
    pub(crate) importance: Option<TokenStream>,
    pub(crate) group: Option<LitStr>,
    pub(crate) secret: bool,
    pub(crate) non_empty: bool,
}

impl FieldAttributes {
    pub(crate) fn read(attributes: &[Attribute]) -> syn::Result<Self> {
        let mut read = FieldAttributes::default();
        for attribute in attributes
            .iter()
            .filter(|attribute| attribute.path().is_ident("config"))
        {
            attribute.parse_nested_meta(|meta| {
                let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
                match name.as_str() {
                    "key" | "name" => read.key = Some(meta.value()?.parse()?),
                    "default" => read.default = Some(text(&meta.value()?.parse()?)?),
                    "range" => read.range = Some(range(&meta.value()?.parse()?)?),
                    "choices" => read.choices = list(&meta.value()?.parse()?)?,
                    "importance" => read.importance = Some(importance(&meta.value()?.parse()?)?),
                    "group" => read.group = Some(meta.value()?.parse()?),
                    "secret" => read.secret = true,
                    "non_empty" => read.non_empty = true,
                    _ => {
                        return Err(meta.error(
                            "unknown; there are key, default, range, choices, importance, group, secret, non_empty",
                        ));
                    }
                }
                Ok(())
            })?;
        }
        Ok(read)
    }
}

/// The doc comment's text: lines of a paragraph joined, paragraphs separated by a line break.
pub(crate) fn doc(attributes: &[Attribute]) -> String {
    let mut text = String::new();
    let mut broken = true;
    for line in attributes.iter().filter_map(doc_line) {
        let line = line.trim();
        if line.is_empty() {
            broken = true;
            continue;
        }
        if !text.is_empty() {
            text.push(if broken { '\n' } else { ' ' });
        }
        text.push_str(line);
        broken = false;
    }
    text
}

fn doc_line(attribute: &Attribute) -> Option<String> {
    if !attribute.path().is_ident("doc") {
        return None;
    }
    match &attribute.meta.require_name_value().ok()?.value {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

fn text(expression: &Expr) -> syn::Result<String> {
    if let Expr::Unary(unary) = expression
        && matches!(unary.op, syn::UnOp::Neg(_))
    {
        return Ok(format!("-{}", text(&unary.expr)?));
    }
    match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Ok(text.value()),
            Lit::Int(number) => Ok(number.base10_digits().to_owned()),
            Lit::Float(number) => Ok(number.base10_digits().to_owned()),
            Lit::Bool(value) => Ok(value.value.to_string()),
            other => Err(syn::Error::new(
                other.span(),
                "write the default as text, a number or a boolean",
            )),
        },
        other => Err(syn::Error::new(
            other.span(),
            "write the default as text, a number or a boolean",
        )),
    }
}

fn range(range: &ExprRange) -> syn::Result<TokenStream> {
    if range.end.is_some() && matches!(range.limits, RangeLimits::HalfOpen(_)) {
        return Err(syn::Error::new(
            range.span(),
            "write the largest value itself, with ..=",
        ));
    }
    let bound = |expression: &Option<Box<Expr>>| match expression {
        Some(expression) => quote!(::core::option::Option::Some((#expression) as f64)),
        None => quote!(::core::option::Option::None),
    };
    let (min, max) = (bound(&range.start), bound(&range.end));
    Ok(quote!(::connect_core::config::ConfigRange { min: #min, max: #max }))
}

fn list(array: &syn::ExprArray) -> syn::Result<Vec<LitStr>> {
    array
        .elems
        .iter()
        .map(|element| match element {
            Expr::Lit(syn::ExprLit {
                lit: Lit::Str(text),
                ..
            }) => Ok(text.clone()),
            other => Err(syn::Error::new(other.span(), "choices are texts")),
        })
        .collect()
}

fn importance(text: &LitStr) -> syn::Result<TokenStream> {
    match text.value().to_ascii_lowercase().as_str() {
        "high" => Ok(quote!(::connect_core::config::Importance::High)),
        "medium" => Ok(quote!(::connect_core::config::Importance::Medium)),
        "low" => Ok(quote!(::connect_core::config::Importance::Low)),
        _ => Err(syn::Error::new(
            text.span(),
            "importance is high, medium or low",
        )),
    }
}

/// `#[config(validate = path)]` on the struct.
pub(crate) fn validate(attributes: &[Attribute]) -> syn::Result<Option<syn::Path>> {
    let mut found = None;
    for attribute in attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("config"))
    {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("validate") {
                return Err(meta.error("unknown; a struct has validate = function"));
            }
            let value = meta.value()?;
            found = Some(if value.peek(LitStr) {
                value.parse::<LitStr>()?.parse()?
            } else {
                value.parse()?
            });
            Ok(())
        })?;
    }
    Ok(found)
}

/// `#[config(name = "…")]` on an enum's variant.
pub(crate) fn variant_name(attributes: &[Attribute]) -> syn::Result<Option<String>> {
    let mut found = None;
    for attribute in attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("config"))
    {
        let pairs = attribute.parse_args_with(
            syn::punctuated::Punctuated::<syn::MetaNameValue, Token![,]>::parse_terminated,
        )?;
        for pair in pairs {
            if !pair.path.is_ident("name") {
                return Err(syn::Error::new(
                    pair.path.span(),
                    "unknown; a variant has name = \"…\"",
                ));
            }
            found = Some(text(&pair.value)?);
        }
    }
    Ok(found)
}
