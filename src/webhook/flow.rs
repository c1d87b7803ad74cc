//! How fast and in which order deliveries of one endpoint leave.

/// In which order an endpoint gets events about one object. Events about different objects never wait
/// for each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeliveryOrder {
    /// As they come: several events about one object may be on their way at once.
    None,
    /// First tries leave in the order of their events, and two events about one object are never on
    /// their way at once. One that failed and waits for its next attempt holds up nobody, so it comes
    /// after those that followed it.
    #[default]
    Soft,
    /// An event about an object is sent only when the one before it is done: accepted, or out of attempts.
    /// A receiver that is down for longer than the schedule lasts gets each of an object's events that
    /// much later.
    Strict,
}

impl DeliveryOrder {
    pub(crate) const ALL: [DeliveryOrder; 3] = [DeliveryOrder::None, DeliveryOrder::Soft, DeliveryOrder::Strict];

    /// The order as a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            DeliveryOrder::None => "none",
            DeliveryOrder::Soft => "soft",
            DeliveryOrder::Strict => "strict",
        }
    }
}
