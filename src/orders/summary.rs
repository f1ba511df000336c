//! The texts for the state of an order and for the work that is left.

use chrono::{DateTime, Datelike, SecondsFormat, TimeDelta, Utc};

use crate::api::{Obligation, Order, OrderStatus, OrderStep};
use crate::platform::output::printable;

/// The longest status that this version knows is `PENDING_INVENTORY`.
pub const MAX_STATUS_WIDTH: usize = 17;

/// Returns a line that says what the order is now, and what recovery will do for it.
pub fn line(order: &Order, now: DateTime<Utc>) -> String {
    let is = format!("{} is {}", order.id, status(order));
    let Some(remainder) = remainder(order, now, exact_time) else {
        return format!("{is}; nothing is owed");
    };
    let failure = last_failure(order);
    let failure = failure.map_or_else(String::new, |call| format!("; last failure: {call}"));
    let next = order.next_attempt_at.filter(|at| *at > now);
    let next = next.map_or_else(String::new, |at| {
        format!(", next attempt at {}", exact_time(at))
    });
    let work = work_of_recovery(order);
    format!("{is}, {remainder}{failure}; recovery will {work}{next}")
}

fn work_of_recovery(order: &Order) -> String {
    let parts = order.owes.iter().map(|obligation| match obligation {
        Obligation::Release => "return the stock",
        Obligation::Refund => "refund the charge",
        Obligation::Shipment => "ship the goods",
    });
    let finish = is_pending(order).then_some("finish it");
    let parts: Vec<_> = parts.chain(finish).collect();
    if parts.is_empty() {
        // Only a newer version knows what is left to do.
        "go on".to_owned()
    } else {
        parts.join(" and ")
    }
}

/// The status, with the reason of a failure.
pub fn status(order: &Order) -> String {
    let status = printable(&order.status);
    match &order.failure_reason {
        Some(reason) => format!("{status}: {}", printable(reason)),
        None if order.fulfilled_at.is_some() => format!("{status}, fulfilled"),
        None => status,
    }
}

/// Returns the work that is left for the order, and since when; `None` if it is settled. `time`
/// formats a time.
pub fn remainder(
    order: &Order,
    now: DateTime<Utc>,
    time: impl Fn(DateTime<Utc>) -> String,
) -> Option<String> {
    if order.settled {
        return None;
    }
    let owes: Vec<_> = order.owes.iter().map(ToString::to_string).collect();
    let owes = owes.join(", ");
    Some(match order.owed_since {
        Some(since) if !owes.is_empty() => {
            let age = age(now - since);
            format!("owes {owes} since {} ({age})", time(since))
        }
        _ if !is_pending(order) => "not settled".to_owned(),
        _ => {
            let unfinished = format!("unfinished for {}", age(now - order.created_at));
            if owes.is_empty() {
                unfinished
            } else {
                format!("{unfinished}, owes {owes}")
            }
        }
    })
}

fn is_pending(order: &Order) -> bool {
    let status = order.status.parse();
    status.is_ok_and(|status: OrderStatus| !status.is_final())
}

/// The call that failed last.
pub fn last_failure(order: &Order) -> Option<String> {
    let step = order.last_failure.as_ref()?;
    Some(format!("{} {}", printable(&step.step), outcome(step)))
}

/// The outcome of a call, with what the service answered.
pub fn outcome(step: &OrderStep) -> String {
    let outcome = printable(&step.outcome);
    match &step.detail {
        Some(detail) => format!("{outcome} ({})", printable(detail)),
        None => outcome,
    }
}

/// A time in UTC for tables. Like `ls`, it shows the year only if it is not the current one.
pub fn short_time(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let format = if at.year() == now.year() {
        "%m-%d %H:%M:%S"
    } else {
        "%Y-%m-%d %H:%M"
    };
    at.format(format).to_string()
}

/// A time in full, in the format that `--created-after` takes.
pub fn exact_time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A duration in its largest unit. The clocks of two machines can make it negative; that is 0 s.
fn age(duration: TimeDelta) -> String {
    let seconds = duration.num_seconds().max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
