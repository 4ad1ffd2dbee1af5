//! Derives for connect-core's configurations: `Config` and `ConfigChoice`.
//!
//! Documented where authors see them, at `connect_core::config::Config`.

mod attributes;
mod choice;
mod config;

use proc_macro::TokenStream;

/// Writes `Config`: definition and parser of a configuration struct.
#[proc_macro_derive(Config, attributes(config))]
pub fn derive_config(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    config::expand(&input)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Writes `ConfigValue` for an enum without data: each variant is a choice, named in lower case with
/// dashes unless `#[config(name = "…")]` says otherwise.
#[proc_macro_derive(ConfigChoice, attributes(config))]
pub fn derive_config_choice(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    choice::expand(&input)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
