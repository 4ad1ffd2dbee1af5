//! Schemas that are there without writing one, under the names Confluent's Datagen has for them.

use connect_core::config::ConfigChoice;

/// What is made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ConfigChoice)]
pub enum Quickstart {
    /// People: when they came, where they are.
    #[config(name = "users")]
    Users,
    /// Which user looked at which page.
    #[config(name = "pageviews")]
    Pageviews,
    /// What was ordered, and where it goes.
    #[config(name = "orders")]
    Orders,
    /// Shares bought and sold.
    #[config(name = "stock_trades")]
    StockTrades,
    /// Stars that users gave.
    #[config(name = "ratings")]
    Ratings,
}

impl Quickstart {
    /// Its Avro schema.
    pub(crate) fn schema(self) -> &'static str {
        match self {
            Self::Users => include_str!("quickstarts/users.avsc"),
            Self::Pageviews => include_str!("quickstarts/pageviews.avsc"),
            Self::Orders => include_str!("quickstarts/orders.avsc"),
            Self::StockTrades => include_str!("quickstarts/stock_trades.avsc"),
            Self::Ratings => include_str!("quickstarts/ratings.avsc"),
        }
    }

    /// The field that is the key unless another one is wanted.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Users => "userid",
            Self::Pageviews => "viewtime",
            Self::Orders => "orderid",
            Self::StockTrades => "symbol",
            Self::Ratings => "rating_id",
        }
    }
}
