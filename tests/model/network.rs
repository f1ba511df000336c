//! The messages on the network.

use valerix::api::PaymentStatus;
use valerix::domain::saga::MAX_EPOCH;

/// A message that changes something where it arrives. A query of payment changes nothing, so it is
/// no message here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Message {
    Reserve(i32),
    Release(i32),
    Ship(i32),
    Charge,
    Void,
    /// Payment found no row and calls the gateway. The steps of a handler are messages too: a
    /// handler that aborts, hangs or continues late looks to the rest of the system like a message
    /// that is lost, under way or late.
    CallGateway,
    /// Payment stores what the gateway decided.
    StoreCharge(PaymentStatus),
    /// Payment stores the void, after the gateway has cancelled the charge.
    StoreVoid,
}

const MESSAGES: [Message; 17] = [
    Message::Reserve(1),
    Message::Reserve(2),
    Message::Reserve(3),
    Message::Reserve(MAX_EPOCH),
    Message::Release(1),
    Message::Release(2),
    Message::Release(3),
    Message::Release(MAX_EPOCH),
    Message::Ship(1),
    Message::Ship(2),
    Message::Ship(3),
    Message::Charge,
    Message::Void,
    Message::CallGateway,
    Message::StoreCharge(PaymentStatus::Success),
    Message::StoreCharge(PaymentStatus::Failed),
    Message::StoreVoid,
];

/// All messages that were ever sent. None is removed, because each may arrive late, several times
/// or never.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Sent(u32);

impl Sent {
    pub fn messages(self) -> impl Iterator<Item = Message> {
        let was_sent = move |bit: &usize| self.0 & (1 << bit) != 0;
        (0..MESSAGES.len())
            .filter(was_sent)
            .map(|bit| MESSAGES[bit])
    }

    pub fn add(&mut self, message: Message) {
        self.0 |= Self::bit(message);
    }

    pub fn contains(self, message: Message) -> bool {
        self.0 & Self::bit(message) != 0
    }

    fn bit(message: Message) -> u32 {
        let bit = MESSAGES.iter().position(|known| *known == message);
        1 << bit.expect("no executor has an epoch above three")
    }
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.messages()).finish()
    }
}
