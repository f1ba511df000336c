//! Processor time and memory that a load takes, from `/proc`.

use std::time::{Duration, Instant};

use procfs::process::{Process, Stat, Status, all_processes};
use procfs::{CurrentSI, KernelStats};
use serde::Serialize;

use crate::fallible::Fallible;
use crate::stats::to_f64;

const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);
const BYTES_PER_KIB: f64 = 1024.0;

/// The process ids of what is measured.
#[derive(Debug, Clone, Copy)]
pub struct Processes {
    /// In the order of `ServiceKind::ALL`.
    pub services: [i32; 3],
    /// PostgreSQL's first process.
    pub postmaster: i32,
}

#[derive(Debug, Clone, Serialize)]
pub struct Usage {
    /// Processor seconds, in the order of `ServiceKind::ALL`.
    #[serde(rename = "roles")]
    pub services: [f64; 3],
    /// Processor seconds of all of PostgreSQL's processes.
    pub postgres: f64,
    /// Processor seconds of wrk or pgbench.
    pub load: f64,
    /// The share of the machine's processor time that other programs took.
    pub others: f64,
    /// The most resident bytes, in the order of `ServiceKind::ALL`.
    pub memory: [f64; 3],
}

/// Clock ticks of processor time up to now.
struct Ticks {
    services: [u64; 3],
    postgres: u64,
    /// The benchmark itself.
    own: u64,
    /// The benchmark's children that have ended, which are the loads.
    load: u64,
    machine: u64,
    read_at: Instant,
}

impl Processes {
    /// Runs a load, and measures what is used until it ends.
    pub async fn measure<T>(
        &self,
        load: impl Future<Output = Fallible<T>>,
    ) -> Fallible<(T, Usage)> {
        let before = self.ticks()?;
        let mut max_memory = self.memory()?;
        let mut interval = tokio::time::interval(SAMPLE_INTERVAL);
        let mut load = std::pin::pin!(load);
        let outcome = loop {
            tokio::select! {
                outcome = &mut load => break outcome?,
                _ = interval.tick() => {
                    for (max, now) in max_memory.iter_mut().zip(self.memory()?) {
                        *max = max.max(now);
                    }
                }
            }
        };
        Ok((outcome, self.ticks()?.usage_since(&before, max_memory)))
    }

    fn ticks(&self) -> Fallible<Ticks> {
        let own = Process::myself()?.stat()?;
        let mut services = [0; 3];
        for (ticks, pid) in services.iter_mut().zip(self.services) {
            *ticks = own_ticks(&Process::new(pid)?.stat()?);
        }
        Ok(Ticks {
            services,
            postgres: self.postgres_ticks()?,
            own: own_ticks(&own),
            load: ticks_of_ended_children(&own),
            machine: machine_ticks()?,
            read_at: Instant::now(),
        })
    }

    /// Ticks of the first process, of its children, and of its children that have ended.
    fn postgres_ticks(&self) -> Fallible<u64> {
        let postmaster = Process::new(self.postmaster)?.stat()?;
        // A process that ends while it is read is skipped. If it is PostgreSQL's, its ticks are in
        // those of the ended children.
        let all = all_processes()?.flatten();
        let stats = all.filter_map(|process| process.stat().ok());
        let children = stats.filter(|stat| stat.ppid == self.postmaster);
        let children: u64 = children.map(|stat| own_ticks(&stat)).sum();
        Ok(own_ticks(&postmaster) + ticks_of_ended_children(&postmaster) + children)
    }

    /// Resident bytes of each service.
    fn memory(&self) -> Fallible<[f64; 3]> {
        self.bytes(|status| status.vmrss)
    }

    /// Resident bytes of each service that are no pages of a file.
    pub fn own_memory(&self) -> Fallible<[f64; 3]> {
        self.bytes(|status| status.rssanon)
    }

    fn bytes(&self, kib: fn(&Status) -> Option<u64>) -> Fallible<[f64; 3]> {
        let mut bytes = [0.0; 3];
        for (bytes, pid) in bytes.iter_mut().zip(self.services) {
            let kib = kib(&Process::new(pid)?.status()?);
            *bytes = to_f64(kib.ok_or("a service has ended")?) * BYTES_PER_KIB;
        }
        Ok(bytes)
    }
}

impl Ticks {
    fn usage_since(&self, before: &Self, memory: [f64; 3]) -> Usage {
        let seconds = |now: u64, then: u64| {
            to_f64(now.saturating_sub(then)) / to_f64(procfs::ticks_per_second())
        };
        let services =
            [0, 1, 2].map(|index: usize| seconds(self.services[index], before.services[index]));
        let postgres = seconds(self.postgres, before.postgres);
        let load = seconds(self.load, before.load);
        let own = seconds(self.own, before.own);
        let measured = services.iter().sum::<f64>() + postgres + load + own;
        let elapsed = self.read_at.duration_since(before.read_at).as_secs_f64();
        let available = elapsed * to_f64(cores());
        // The ticks are read one after the other and are hundredths of a second, so the difference
        // can be slightly negative.
        let others = (seconds(self.machine, before.machine) - measured) / available;
        Usage {
            services,
            postgres,
            load,
            others: others.max(0.0),
            memory,
        }
    }
}

const fn own_ticks(stat: &Stat) -> u64 {
    stat.utime + stat.stime
}

fn ticks_of_ended_children(stat: &Stat) -> u64 {
    u64::try_from(stat.cutime + stat.cstime).unwrap_or_default()
}

/// Ticks in which the machine's processors were busy.
fn machine_ticks() -> Fallible<u64> {
    let cpu = KernelStats::current()?.total;
    let parts = [
        Some(cpu.user + cpu.nice + cpu.system),
        cpu.irq,
        cpu.softirq,
        cpu.steal,
    ];
    Ok(parts.into_iter().flatten().sum())
}

pub fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64)
}
