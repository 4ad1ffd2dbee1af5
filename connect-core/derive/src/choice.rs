//! `#[derive(ConfigChoice)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Fields};

use crate::attributes;

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let Data::Enum(data) = &input.data else {
        return Err(syn::Error::new(
            input.ident.span(),
            "choices are the variants of an enum",
        ));
    };
    let name = &input.ident;
    let mut variants = Vec::new();
    let mut texts = Vec::new();
    for variant in &data.variants {
        if !matches!(variant.fields, Fields::Unit) {
            return Err(syn::Error::new(
                variant.ident.span(),
                "a choice has no data",
            ));
        }
        texts.push(match attributes::variant_name(&variant.attrs)? {
            Some(text) => text,
            None => dashed(&variant.ident.to_string()),
        });
        variants.push(&variant.ident);
    }
    Ok(quote! {
        #[automatically_derived]
        impl ::connect_core::config::ConfigValue for #name {
            const TYPE: ::connect_core::config::ConfigType = ::connect_core::config::ConfigType::String;

            fn from_text(text: &str) -> ::core::option::Option<Self> {
                let text = text.trim();
                #(
                    if text.eq_ignore_ascii_case(#texts) {
                        return ::core::option::Option::Some(Self::#variants);
                    }
                )*
                ::core::option::Option::None
            }

            fn choices() -> &'static [&'static str] {
                &[#(#texts),*]
            }
        }
    })
}

/// `CopyTruncate` → `copy-truncate`.
fn dashed(name: &str) -> String {
    let mut text = String::new();
    for (index, letter) in name.chars().enumerate() {
        if letter.is_uppercase() && index > 0 {
            text.push('-');
        }
        text.extend(letter.to_lowercase());
    }
    text
}
