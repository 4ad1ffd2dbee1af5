//! `#[derive(Config)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Field, Fields, Ident};

use crate::attributes::{self, FieldAttributes};

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let fields = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => &fields.named,
            _ => {
                return Err(syn::Error::new(
                    input.ident.span(),
                    "a configuration has named fields",
                ));
            }
        },
        _ => {
            return Err(syn::Error::new(
                input.ident.span(),
                "a configuration is a struct with named fields",
            ));
        }
    };
    let name = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();

    let mut keys = Vec::new();
    let mut errors: Option<syn::Error> = None;
    for field in fields {
        match key(field) {
            Ok(tokens) => keys.push(tokens),
            Err(error) => match &mut errors {
                Some(all) => all.combine(error),
                None => errors = Some(error),
            },
        }
    }
    if let Some(errors) = errors {
        return Err(errors);
    }

    let names: Vec<&Ident> = fields
        .iter()
        .filter_map(|field| field.ident.as_ref())
        .collect();
    let types: Vec<&syn::Type> = fields.iter().map(|field| &field.ty).collect();
    let check = attributes::validate(&input.attrs)?
        .map(|function| quote!(#function(&config, &mut problems);));

    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::connect_core::config::Config for #name #type_generics #where_clause {
            fn definition() -> ::connect_core::config::ConfigDef {
                ::connect_core::config::ConfigDef::new(::std::vec![#(#keys),*])
            }

            fn parse(
                map: &::connect_core::config::ConfigMap,
            ) -> ::core::result::Result<Self, ::std::vec::Vec<::connect_core::config::Problem>> {
                let definition = Self::definition();
                let mut keys = definition.keys.iter();
                let mut problems = ::std::vec::Vec::new();
                #(
                    let #names = keys
                        .next()
                        .and_then(|key| ::connect_core::config::read::<#types>(key, map, &mut problems));
                )*
                match (#(#names,)*) {
                    (#(::core::option::Option::Some(#names),)*) if problems.is_empty() => {
                        let config = Self { #(#names),* };
                        #check
                        if problems.is_empty() {
                            ::core::result::Result::Ok(config)
                        } else {
                            ::core::result::Result::Err(problems)
                        }
                    }
                    _ => ::core::result::Result::Err(problems),
                }
            }
        }
    })
}

fn key(field: &Field) -> syn::Result<TokenStream> {
    let Some(ident) = &field.ident else {
        return Err(syn::Error::new_spanned(
            field,
            "a configuration has named fields",
        ));
    };
    let doc = attributes::doc(&field.attrs);
    if doc.is_empty() {
        return Err(syn::Error::new(
            ident.span(),
            "needs a doc comment: it is what users read about this key",
        ));
    }
    let attributes = FieldAttributes::read(&field.attrs)?;
    let name = match &attributes.key {
        Some(key) => key.value(),
        None => ident.unraw().to_string().replace('_', "."),
    };
    let kind = &field.ty;
    let value = quote!(<#kind as ::connect_core::config::ConfigValue>);
    let (default, required) = match &attributes.default {
        Some(text) => (
            quote!(::core::option::Option::Some(#text.to_owned())),
            quote!(false),
        ),
        None => (
            quote!(::core::option::Option::None),
            quote!(!#value::OPTIONAL),
        ),
    };
    let choices = if attributes.choices.is_empty() {
        quote!(#value::choices().iter().map(|choice| ::std::borrow::Cow::Borrowed(*choice)).collect())
    } else {
        let choices = &attributes.choices;
        quote!(::std::vec![#(::std::borrow::Cow::Borrowed(#choices)),*])
    };
    let range = match &attributes.range {
        Some(range) => quote!(::core::option::Option::Some(#range)),
        None => quote!(#value::RANGE),
    };
    let importance = match &attributes.importance {
        Some(importance) => importance.clone(),
        None => quote!(::connect_core::config::Importance::Medium),
    };
    let group = match &attributes.group {
        Some(group) => quote!(::core::option::Option::Some(::std::borrow::Cow::Borrowed(#group))),
        None => quote!(::core::option::Option::None),
    };
    let (secret, non_empty) = (attributes.secret, attributes.non_empty);
    Ok(quote! {
        ::connect_core::config::ConfigKey {
            name: ::std::borrow::Cow::Borrowed(#name),
            kind: #value::TYPE,
            required: #required,
            default: #default,
            doc: ::std::borrow::Cow::Borrowed(#doc),
            importance: #importance,
            group: #group,
            order_in_group: ::core::option::Option::None,
            display_name: ::core::option::Option::None,
            width: ::connect_core::config::Width::None,
            secret: #secret || #value::SECRET,
            choices: #choices,
            range: #range,
            non_empty: #non_empty,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(input: &DeriveInput) -> String {
        expand(input).unwrap_err().to_string()
    }

    #[test]
    fn a_key_without_documentation_does_not_compile() {
        let said = error(&syn::parse_quote! {
            struct Bare {
                topic: String,
            }
        });
        assert!(said.contains("needs a doc comment"), "{said}");
    }

    #[test]
    fn mistakes_in_attributes_do_not_compile() {
        let said = error(&syn::parse_quote! {
            struct Wrong {
                /// A number.
                #[config(range = 1..5)]
                number: i32,
            }
        });
        assert!(said.contains("..="), "{said}");
        let said = error(&syn::parse_quote! {
            struct Wrong {
                /// A number.
                #[config(defualt = 5)]
                number: i32,
            }
        });
        assert!(said.contains("there are key, default"), "{said}");
        let said = error(&syn::parse_quote! {
            struct Wrong {
                /// A number.
                #[config(importance = "urgent")]
                number: i32,
            }
        });
        assert!(said.contains("high, medium or low"), "{said}");
        assert!(
            error(&syn::parse_quote!(
                struct Tuple(String);
            ))
            .contains("named fields")
        );
        assert!(
            error(&syn::parse_quote!(
                enum Choice {
                    A,
                }
            ))
            .contains("is a struct")
        );
    }
}
