//! Free ports for services that are about to be started.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Lies below the ports that operating systems choose for outgoing connections, so that no
/// connection takes a service's port while the service is down.
const PORTS: Range<u16> = 10_000..15_000;
/// Distance between the first ports that two processes with neighbouring ids try.
const PORTS_PER_PROCESS: usize = 16;

/// Finds ports of 127.0.0.1 that are free now. Two calls in one process never return the same port,
/// unless the range is used up.
///
/// # Errors
/// When fewer than `N` ports from 10000 to 14999 are free.
pub fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    free_ports_in(PORTS)
}

/// Finds free ports as [`free_ports`] does, in another range.
///
/// # Errors
/// When fewer than `N` ports of the range are free.
pub fn free_ports_in<const N: usize>(range: Range<u16>) -> io::Result<[u16; N]> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let process_id = usize::try_from(std::process::id()).unwrap_or_default();
    let candidates = (0..range.len()).filter_map(|_| {
        let offset = process_id * PORTS_PER_PROCESS + NEXT.fetch_add(1, Ordering::Relaxed);
        range.clone().nth(offset % range.len())
    });
    let free = candidates.filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    let ports: Vec<u16> = free.take(N).collect();
    ports.try_into().map_err(|_| {
        let (first, last) = (range.start, range.end - 1);
        io::Error::other(format!("there are no free ports from {first} to {last}"))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ports_of_several_calls_differ_and_lie_in_the_range() {
        let calls = (0..20).map(|_| free_ports_in::<3>(14_000..14_500).unwrap());
        let ports: Vec<_> = calls.flatten().collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 60);
        assert!(ports.iter().all(|port| (14_000..14_500).contains(port)));
    }

    #[test]
    fn a_port_in_use_is_not_free() {
        let [port] = free_ports::<1>().unwrap();
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let error = free_ports_in::<1>(port..port + 1).unwrap_err();
        assert!(
            error.to_string().starts_with("there are no free ports"),
            "{error}"
        );
    }
}
