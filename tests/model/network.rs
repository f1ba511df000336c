//! What is on its way.

use valerix::api::PaymentStatus;
use valerix::domain::saga::MAX_EPOCH;

/// What changes something where it arrives. A question to payment changes nothing, and is only ever
/// answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Message {
    Reserve(i32),
    Release(i32),
    Charge,
    Void,
    /// Payment found no row and turns to the gateway. Its own steps are messages too: a handler
    /// that died, hangs or wakes up late is to the rest of the world a message that is lost, on
    /// its way or late.
    AskGateway,
    /// The gateway approved or declined; payment stores it.
    StoreCharge(PaymentStatus),
    /// The gateway cancelled; payment stores it.
    StoreVoid,
}

const MESSAGES: [Message; 14] = [
    Message::Reserve(1),
    Message::Reserve(2),
    Message::Reserve(3),
    Message::Reserve(MAX_EPOCH),
    Message::Release(1),
    Message::Release(2),
    Message::Release(3),
    Message::Release(MAX_EPOCH),
    Message::Charge,
    Message::Void,
    Message::AskGateway,
    Message::StoreCharge(PaymentStatus::Success),
    Message::StoreCharge(PaymentStatus::Failed),
    Message::StoreVoid,
];

/// Every message ever sent. None is taken out again: it may arrive never, late, or any number of
/// times.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Sent(u16);

impl Sent {
    pub fn messages(self) -> impl Iterator<Item = Message> {
        let was_sent = move |bit: &usize| self.0 & (1 << bit) != 0;
        (0..MESSAGES.len())
            .filter(was_sent)
            .map(|bit| MESSAGES[bit])
    }

    pub fn add(&mut self, message: Message) {
        let bit = MESSAGES.iter().position(|known| *known == message);
        self.0 |= 1 << bit.expect("no driver has an epoch above three");
    }
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.messages()).finish()
    }
}
