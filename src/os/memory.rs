//! How much memory there is for the process.

/// The bytes that the process may have: those of the machine, or fewer where a container, a service manager or
/// the shell allows no more. `None` where the system does not tell.
///
/// The kernel ends a process that goes beyond the limit of a control group, and an allocation that it refuses ends
/// a process, too. So what can be bounded is to stay well within this.
pub(crate) fn limit() -> Option<u64> {
    [machine(), control_groups(), shell()].into_iter().flatten().min()
}

/// Gives back to the system what the allocator keeps of memory that has been freed.
pub(crate) fn give_back() {
    // Others cannot be asked for it.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: takes an integer and returns one; each thread's part of the heap is locked while it is looked at.
        unsafe { libc::malloc_trim(0) };
    }
    #[cfg(all(target_os = "linux", target_env = "musl"))]
    super::allocator::give_back();
}

/// What is built in.
fn machine() -> Option<u64> {
    #[cfg(unix)]
    {
        // SAFETY: takes an integer and returns one.
        let pages = unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) };
        let pages = u64::try_from(pages).ok().filter(|&pages| pages > 0)?;
        pages.checked_mul(u64::try_from(rustix::param::page_size()).ok()?)
    }
    #[cfg(windows)]
    return super::windows::memory::built_in();
    #[cfg(not(any(unix, windows)))]
    None
}

/// What `ulimit -v` and `ulimit -d` allow. They count what is set aside, too, such as the stacks of threads: half of it
/// is for what is used.
fn shell() -> Option<u64> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use rustix::process::{Resource, getrlimit};
        let limits = [Resource::As, Resource::Data].into_iter().filter_map(|it| getrlimit(it).current);
        limits.map(|bytes| bytes / 2).min()
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    None
}

/// What the control groups allow that the process is in.
fn control_groups() -> Option<u64> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let read = |path: &str| std::fs::read_to_string(path).ok();
        groups.lines().filter_map(|line| of_group(line, read)).min()
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    None
}

/// The lowest limit of a group and those that it is in; `line` is one of `/proc/self/cgroup` (cgroups(7)). In a
/// container the path may be that outside, while its own group is mounted as the topmost one, which is asked, too.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn of_group(line: &str, read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    const PLACE: &str = "/sys/fs/cgroup";
    let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
    let (place, files) = match controllers {
        "" => (PLACE.to_owned(), ["memory.max", "memory.high"].as_slice()),
        _ if controllers.split(',').any(|it| it == "memory") => {
            (format!("{PLACE}/memory"), ["memory.limit_in_bytes"].as_slice())
        }
        _ => return None,
    };
    let groups =
        std::iter::successors(Some(path.trim_end_matches('/')), |path| Some(path.rsplit_once('/')?.0));
    let limits = groups.flat_map(|group| files.iter().map(move |file| (group, file)));
    // Where there is no limit it says `max`, or a number that is more than any machine has.
    limits.filter_map(|(group, file)| read(&format!("{place}{group}/{file}"))?.trim().parse().ok()).min()
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_limit_of_all_groups_counts() {
        let files = |path: &str| {
            let text = match path {
                "/sys/fs/cgroup/a/b/memory.max" => "max\n",
                "/sys/fs/cgroup/a/memory.max" => "700\n",
                "/sys/fs/cgroup/a/memory.high" => "600\n",
                "/sys/fs/cgroup/memory.max" => "900\n",
                "/sys/fs/cgroup/memory/x/memory.limit_in_bytes" => "9223372036854771712\n",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes" => "800\n",
                _ => return None,
            };
            Some(text.to_owned())
        };
        for (line, limit) in [
            ("0::/a/b", Some(600)),
            ("0::/other", Some(900)),
            ("0::/", Some(900)),
            ("4:memory:/x", Some(800)),
            ("4:cpu,memory:/docker/0123", Some(800)),
            ("4:memory:/", Some(800)),
            ("3:cpu,cpuacct:/a", None),
            ("1:name=systemd:/a", None),
            ("", None),
            ("::", Some(900)),
        ] {
            assert_eq!(of_group(line, files), limit, "{line}");
        }
    }

    #[test]
    fn a_machine_has_memory() {
        assert!(limit().is_some_and(|bytes| bytes > 1024 * 1024));
    }
}
