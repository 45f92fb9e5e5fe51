//! What the process uses, by the names that all of Prometheus's libraries have for it. (The crate's own collector
//! brings a library for all of `/proc` that is a second copy of what we have; this asks for six numbers.)

use super::series::register;
use prometheus::{Counter, Gauge, IntGauge, Registry};
use std::time::SystemTime;

pub(super) struct Process {
    start: Gauge,
    cpu: Counter,
    resident: IntGauge,
    threads: IntGauge,
    open_files: IntGauge,
    most_files: IntGauge,
}

impl Process {
    pub(super) fn new(of: &Registry) -> Process {
        let gauge = |name: &str, help: &str| register(of, IntGauge::new(name, help));
        let start =
            Gauge::new("process_start_time_seconds", "When the process began, in seconds since 1970.");
        let cpu = Counter::new("process_cpu_seconds_total", "CPU time that was used, in seconds.");
        Process {
            start: register(of, start),
            cpu: register(of, cpu),
            resident: gauge("process_resident_memory_bytes", "Memory that is in use, in bytes."),
            threads: gauge("process_threads", "Threads."),
            open_files: gauge("process_open_fds", "Descriptors that are open."),
            most_files: gauge("process_max_fds", "Descriptors that may be open."),
        }
    }

    /// The process begins now.
    pub(super) fn note_start(&self) {
        #[expect(clippy::disallowed_methods, reason = "a date, for others")]
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        self.start.set(now.map_or(0.0, |now| now.as_secs_f64()));
    }

    /// Asks the system. What it does not tell stays 0.
    pub(super) fn look(&self) {
        #[cfg(unix)]
        {
            use rustix::process::{Resource, getrlimit};
            let cpu = crate::os::process::cpu_time().unwrap_or_default().as_secs_f64();
            self.cpu.inc_by((cpu - self.cpu.get()).max(0.0));
            self.most_files.set(getrlimit(Resource::Nofile).current.map_or(-1, |most| most.cast_signed()));
        }
        #[cfg(windows)]
        {
            let used = crate::os::windows::process::own_usage();
            self.cpu.inc_by((used.cpu.as_secs_f64() - self.cpu.get()).max(0.0));
            self.resident.set(used.memory.try_into().unwrap_or(i64::MAX));
            self.open_files.set(used.handles.into());
            // There is no limit, nor anybody who counts threads but all processes' at once.
            self.most_files.set(-1);
            self.threads.set(0);
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            let entries = |folder| std::fs::read_dir(folder).map_or(0, Iterator::count);
            // One is that of the folder, while it is read.
            self.open_files.set(entries("/proc/self/fd").saturating_sub(1) as i64);
            self.threads.set(entries("/proc/self/task") as i64);
            // proc(5): the second number is that of the pages that are in memory.
            let memory = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
            let pages: i64 =
                memory.split(' ').nth(1).and_then(|number| number.parse().ok()).unwrap_or_default();
            self.resident.set(pages * rustix::param::page_size() as i64);
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn what_the_system_tells_is_true() {
        use super::{Process, Registry};
        let process = Process::new(&Registry::new());
        process.note_start();
        process.look();
        let before = process.open_files.get();
        let file = std::fs::File::open("/proc/self/stat").unwrap();
        process.look();
        // (Other tests may have files of their own, in the same process.)
        assert!(before > 2 && process.open_files.get() > 2, "{before}");
        drop(file);
        assert!(process.most_files.get() >= process.open_files.get());
        assert!(process.threads.get() >= 1);
        assert!((1 << 20..1 << 34).contains(&process.resident.get()), "{}", process.resident.get());
        assert!((1.7e9..1e11).contains(&process.start.get()));
        assert!(process.cpu.get() > 0.0);
    }
}
