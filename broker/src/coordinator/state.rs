//! The states of a classic group and which may follow which.

/// Where a group is in the classic rebalance protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum GroupState {
    /// No members; committed offsets may remain.
    Empty,
    /// Members are asked to rejoin and are collected.
    PreparingRebalance,
    /// A new generation exists and waits for its leader's assignment.
    CompletingRebalance,
    /// Every member of the generation has its assignment.
    Stable,
    /// The group was removed; whoever still holds it must look it up again.
    Dead,
}

impl GroupState {
    /// Kafka's name, as tools print it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }

    /// Whether a group in `self` may go to `next`.
    pub(crate) const fn may_become(self, next: Self) -> bool {
        match next {
            Self::Empty => matches!(self, Self::PreparingRebalance),
            Self::PreparingRebalance => {
                matches!(self, Self::Empty | Self::CompletingRebalance | Self::Stable)
            }
            Self::CompletingRebalance => matches!(self, Self::PreparingRebalance),
            Self::Stable => matches!(self, Self::CompletingRebalance),
            Self::Dead => true,
        }
    }
}
