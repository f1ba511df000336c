//! What a load costs: processor time of every process that it touches, and memory of the services.
//! From `/proc`.

use std::time::{Duration, Instant};

use procfs::process::{Process, Stat, all_processes};
use procfs::{CurrentSI, KernelStats};
use serde::Serialize;

use crate::Fallible;
use crate::stats::float;

const EVERY: Duration = Duration::from_millis(100);

/// Whom to watch: the three services, and PostgreSQL's first process.
#[derive(Debug, Clone, Copy)]
pub struct Watched {
    pub roles: [i32; 3],
    pub postmaster: i32,
}

/// What was seen.
#[derive(Debug, Clone, Serialize)]
pub struct Cost {
    /// Processor seconds of order, inventory and payment.
    pub roles: [f64; 3],
    /// Processor seconds of all of PostgreSQL's processes.
    pub postgres: f64,
    /// Processor seconds of wrk or pgbench.
    pub load: f64,
    /// Share of the machine's processor time that went to somebody else.
    pub others: f64,
    /// Bytes resident, at most, of order, inventory and payment.
    pub memory: [f64; 3],
}

/// Ticks spent up to now.
struct Clock {
    roles: [u64; 3],
    postgres: u64,
    /// The benchmark itself, and its children that have ended, which are the loads.
    own: u64,
    load: u64,
    machine: u64,
    at: Instant,
}

impl Watched {
    /// Watches while the load runs.
    pub async fn during<T>(&self, load: impl Future<Output = Fallible<T>>) -> Fallible<(T, Cost)> {
        let before = self.clock()?;
        let mut memory = self.memory()?;
        let mut ticks = tokio::time::interval(EVERY);
        let mut load = std::pin::pin!(load);
        let outcome = loop {
            tokio::select! {
                outcome = &mut load => break outcome?,
                _ = ticks.tick() => {
                    for (most, now) in memory.iter_mut().zip(self.memory()?) {
                        *most = most.max(now);
                    }
                }
            }
        };
        Ok((outcome, self.clock()?.since(&before, memory)))
    }

    fn clock(&self) -> Fallible<Clock> {
        let own = Process::myself()?.stat()?;
        let mut roles = [0; 3];
        for (ticks, pid) in roles.iter_mut().zip(self.roles) {
            *ticks = spent(&Process::new(pid)?.stat()?);
        }
        Ok(Clock {
            roles,
            postgres: self.postgres()?,
            own: spent(&own),
            load: of_ended_children(&own),
            machine: busy()?,
            at: Instant::now(),
        })
    }

    /// The first process, its children, and those of them that have ended, whose time it inherits.
    fn postgres(&self) -> Fallible<u64> {
        let postmaster = Process::new(self.postmaster)?.stat()?;
        // Processes that end while they are looked at belong to nobody we know, or are counted by
        // their parent.
        let children = all_processes()?
            .flatten()
            .filter_map(|process| process.stat().ok());
        let children = children
            .filter(|stat| stat.ppid == self.postmaster)
            .map(|stat| spent(&stat));
        Ok(spent(&postmaster) + of_ended_children(&postmaster) + children.sum::<u64>())
    }

    /// Bytes resident of each service.
    pub fn memory(&self) -> Fallible<[f64; 3]> {
        let mut bytes = [0.0; 3];
        for (bytes, pid) in bytes.iter_mut().zip(self.roles) {
            *bytes = float(
                Process::new(pid)?
                    .status()?
                    .vmrss
                    .ok_or("a service has ended")?,
            ) * 1024.0;
        }
        Ok(bytes)
    }
}

impl Clock {
    fn since(&self, before: &Self, memory: [f64; 3]) -> Cost {
        let seconds = |now: u64, then: u64| {
            float(now.saturating_sub(then)) / float(procfs::ticks_per_second())
        };
        let roles = [0, 1, 2].map(|role: usize| seconds(self.roles[role], before.roles[role]));
        let (postgres, load) = (
            seconds(self.postgres, before.postgres),
            seconds(self.load, before.load),
        );
        let ours = roles.iter().sum::<f64>() + postgres + load + seconds(self.own, before.own);
        let whole = self.at.duration_since(before.at).as_secs_f64() * float(cores());
        // The clocks are read one after the other, and tick a hundred times a second: a little
        // below zero is zero.
        let others = ((seconds(self.machine, before.machine) - ours) / whole).max(0.0);
        Cost {
            roles,
            postgres,
            load,
            others,
            memory,
        }
    }
}

const fn spent(stat: &Stat) -> u64 {
    stat.utime + stat.stime
}

fn of_ended_children(stat: &Stat) -> u64 {
    u64::try_from(stat.cutime + stat.cstime).unwrap_or_default()
}

fn busy() -> Fallible<u64> {
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
