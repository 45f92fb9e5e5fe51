//! Wine, in which the program for Windows is tested.
//!
//! `OBFS_RS_WINDOWS_BIN` names that program, for x86_64 or for i386. Each test has a Windows of its own (a prefix), which is a
//! copy of one that is made once. Two small programs of Windows are made with it, by zig: a host, and a library that a current Rust
//! program wants and Debian's Wine does not have.

use super::child::Child;
use super::peers;
use super::plugin::{Plugin, Vars, bare};
use super::ports::free_port;
use super::tempdir::TempDir;
use super::{STEP, digest, eventually, proc};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};

const HOST: &str = include_str!("wine/host.c");
const RANDOM: &str = include_str!("wine/random.c");

/// Where Debian has it.
const FOLDER: &str = "/usr/lib/wine";

/// The program under test.
fn program() -> PathBuf {
    let name = std::env::var_os("OBFS_RS_WINDOWS_BIN");
    let path = PathBuf::from(name.expect("OBFS_RS_WINDOWS_BIN names obfs-rs.exe"));
    assert!(path.is_absolute() && path.is_file(), "OBFS_RS_WINDOWS_BIN is no file's whole path: {path:?}");
    path
}

/// For which processor a Windows is.
struct Processor {
    /// Its Wine, and what all programs of a prefix have in common.
    loader: &'static str,
    server: &'static str,
    /// The Debian package that has them.
    package: &'static str,
    /// What `WINEARCH` calls its prefix.
    prefix: &'static str,
    /// What zig calls it.
    zig: &'static str,
}

const X86_64: Processor = Processor {
    loader: "wine64",
    server: "wineserver64",
    package: "wine64",
    prefix: "win64",
    zig: "x86_64-windows-gnu",
};

const I386: Processor = Processor {
    loader: "wine",
    server: "wineserver32",
    package: "wine32:i386",
    prefix: "win32",
    zig: "x86-windows-gnu",
};

impl Processor {
    /// That of the program under test, as its header says (PE format, `Machine`).
    fn of_program() -> &'static Processor {
        let content = std::fs::read(program()).expect("the program");
        let at = |offset: usize| content.get(offset..offset + 4).expect("a header").try_into().expect("four");
        let header = u32::from_le_bytes(at(0x3c)) as usize;
        match u32::from_le_bytes(at(header + 4)) & 0xffff {
            0x8664 => &X86_64,
            0x014c => &I386,
            other => panic!("a program for another processor: {other:#x}"),
        }
    }

    /// A program of its Wine.
    fn tool(&self, name: &str) -> PathBuf {
        let file = Path::new(FOLDER).join(name);
        assert!(file.is_file(), "{} is missing (Debian package {})", file.display(), self.package);
        file
    }

    fn prepare(&self, command: &mut Command, prefix: &Path) {
        command
            .env("WINEPREFIX", prefix)
            .env("WINEARCH", self.prefix)
            .env("WINEDEBUG", "-all")
            // Neither .NET nor a browser is needed, for which it would ask.
            .env("WINEDLLOVERRIDES", "mscoree,mshtml=")
            // By it, what is in the environment becomes Windows's letters.
            .env("LC_ALL", "C.UTF-8")
            .env_remove("DISPLAY");
    }
}

/// A name of a file as Windows has it under Wine.
pub fn windows_path(path: &Path) -> String {
    format!("Z:{}", path.display()).replace('/', "\\")
}

/// The same in the plugin's options, where a backslash stands before what is to be taken as it is.
pub fn option_path(path: &Path) -> String {
    windows_path(path).replace('\\', "\\\\")
}

/// A Windows of one test.
pub struct Wine {
    dir: TempDir,
    processor: &'static Processor,
    /// Linux's programs that each of Windows' is started by.
    wrapper: Vec<String>,
}

impl Wine {
    #[track_caller]
    pub fn start() -> Wine {
        Wine::start_by(&[])
    }

    /// One that is started by another program, which has its arguments behind its own.
    #[track_caller]
    pub fn start_by(wrapper: &[&str]) -> Wine {
        let processor = Processor::of_program();
        let made = made(processor);
        let dir = TempDir::new("wine");
        // Links to the many libraries, and copies of what is written to.
        let copied = Command::new("cp").arg("-al").arg(made.join("prefix")).arg(dir.path()).status();
        assert!(copied.expect("run cp").success(), "the prefix cannot be copied");
        for name in ["system.reg", "user.reg", "userdef.reg"] {
            let file = dir.path().join("prefix").join(name);
            std::fs::remove_file(&file).expect("a file of the prefix");
            std::fs::copy(made.join("prefix").join(name), file).expect("a copy of it");
        }
        let wine = Wine { dir, processor, wrapper: wrapper.iter().map(ToString::to_string).collect() };
        std::fs::create_dir(wine.folder()).expect("a folder");
        let copies = [
            (program(), "obfs-rs.exe"),
            (made.join("host.exe"), "host.exe"),
            (made.join("bcryptprimitives.dll"), "bcryptprimitives.dll"),
        ];
        for (from, name) in copies {
            std::fs::copy(&from, wine.folder().join(name)).expect("a copy of a program");
        }
        wine
    }

    /// Where its programs are: names of folders have spaces on Windows.
    pub fn folder(&self) -> PathBuf {
        self.dir.path().join("Program Files (tested)")
    }

    fn tool(&self, name: &str) -> Command {
        let file = self.processor.tool(name);
        match &self.wrapper[..] {
            [] => self.prepared(bare(file)),
            [first, rest @ ..] => {
                let mut command = bare(peers::path(first));
                command.args(rest).arg(file);
                self.prepared(command)
            }
        }
    }

    fn prepared(&self, mut command: Command) -> Command {
        self.processor.prepare(&mut command, &self.dir.path().join("prefix"));
        command
    }

    /// A program of Windows in its folder.
    pub fn command(&self, name: &str) -> Command {
        let mut command = self.tool(self.processor.loader);
        command.arg(self.folder().join(name)).current_dir(self.folder());
        command
    }

    /// Our program for Windows, with these variables, which listens at the port.
    #[track_caller]
    pub fn plugin(&self, name: &str, vars: &Vars, port: u16) -> Plugin {
        let mut command = self.command("obfs-rs.exe");
        vars.put(&mut command);
        let child = Child::spawn(name, command);
        child.wait_listening(port);
        Plugin { child, addr: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    /// Its client half on a free port, for the server half at `remote`.
    #[track_caller]
    pub fn client(&self, remote: SocketAddr, options: &str) -> Plugin {
        let vars = client_vars(remote, options);
        self.plugin("the client on Windows", &vars, vars.local.1)
    }

    /// Its server half on a free port, in front of `backend`.
    #[track_caller]
    pub fn server(&self, backend: SocketAddr, options: &str) -> Plugin {
        let vars = server_vars(backend, options);
        self.plugin("the server on Windows", &vars, vars.remote.1)
    }

    /// A host on Windows, which starts this program with these variables and these words for it (see `host.c`).
    #[track_caller]
    pub fn host(&self, plugin: &str, vars: &Vars, words: &[&str]) -> Host {
        self.host_named("host.exe", plugin, vars, words)
    }

    /// The same under another name.
    #[track_caller]
    pub fn host_named(&self, name: &str, plugin: &str, vars: &Vars, words: &[&str]) -> Host {
        let copy = self.folder().join(name);
        if !copy.exists() {
            std::fs::copy(self.folder().join("host.exe"), copy).expect("a copy of a program");
        }
        let mut command = self.command(name);
        command.arg(windows_path(&self.folder().join(plugin)));
        command.args([
            format!("SS_REMOTE_HOST={}", vars.remote.0),
            format!("SS_REMOTE_PORT={}", vars.remote.1),
            format!("SS_LOCAL_HOST={}", vars.local.0),
            format!("SS_LOCAL_PORT={}", vars.local.1),
            format!("SS_PLUGIN_OPTIONS={}", vars.options),
        ]);
        command.args(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut inner = command.spawn().expect("start a host");
        let commands = inner.stdin.take();
        Host { child: Child::started("the host on Windows", inner), commands }
    }

    /// How many of Linux's processes run a program of this Windows with that name.
    pub fn processes(&self, name: &str) -> usize {
        let file = windows_path(&self.folder().join(name));
        let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
        let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        // (of the host's arguments only the first is looked at)
        lines
            .filter(|line| {
                let line = String::from_utf8_lossy(line);
                let mut words = line.split('\0').map(|word| word.trim_matches('"'));
                words.next().is_some_and(|word| word == file)
            })
            .count()
    }
}

impl Drop for Wine {
    fn drop(&mut self) {
        // Whatever still runs in this prefix ends with its server.
        let _ = self.tool(self.processor.server).arg("-k").status();
    }
}

/// A host on Windows, with the plugin that it has started.
pub struct Host {
    pub child: Child,
    commands: Option<ChildStdin>,
}

impl Host {
    /// Has it end, which leaves its plugin behind.
    pub fn end(&mut self) {
        self.commands = None;
    }

    /// Waits until its plugin has the port.
    #[track_caller]
    pub fn wait_listening(&self, port: u16) {
        let listens = eventually(STEP, || proc::port_listens(port));
        assert!(listens, "its plugin does not listen on {port}; {}", self.child.show_log());
    }

    /// Waits for its plugin's end, and returns the exit code.
    #[track_caller]
    pub fn wait_plugin_ended(&self) -> u32 {
        const MARK: &str = "plugin ended ";
        let line = self.child.wait_text(MARK);
        line.strip_prefix(MARK).and_then(|code| code.trim().parse().ok()).expect("a code")
    }
}

/// Of a client half on a free port.
pub fn client_vars(remote: SocketAddr, options: &str) -> Vars {
    Vars {
        remote: (remote.ip().to_string(), remote.port()),
        local: ("127.0.0.1".to_owned(), free_port()),
        options: options.to_owned(),
    }
}

/// Of a server half on a free port.
pub fn server_vars(backend: SocketAddr, options: &str) -> Vars {
    Vars {
        remote: ("127.0.0.1".to_owned(), free_port()),
        local: (backend.ip().to_string(), backend.port()),
        options: format!("server;{options}"),
    }
}

/// The folder with the prefix that others are copied from, and the programs. One test makes it, and the others wait.
fn made(processor: &Processor) -> PathBuf {
    let dir = TempDir::new("wine-new");
    let place = dir.path().parent().expect("a folder");
    let version = Command::new(processor.tool(processor.loader)).arg("--version").output();
    let version = version.expect("run Wine").stdout;
    let key = digest(&[HOST.as_bytes(), RANDOM.as_bytes(), &version].concat());
    let made = place.join(format!("wine-{}-{}", processor.prefix, &key[..12]));
    let lock = File::create(place.join("wine.lock")).expect("a file to lock");
    flock(&lock, FlockOperation::LockExclusive).expect("a lock");
    if !made.exists() {
        make(processor, dir.path());
        std::fs::rename(dir.path(), &made).expect("keep what was made");
    }
    made
}

fn make(processor: &Processor, folder: &Path) {
    let zig = ["zig", "python-zig"].into_iter().find_map(peers::find);
    let zig = zig.expect("zig or python-zig (Python package ziglang)");
    let compile = |source: &str, name: &str, flags: &[&str]| {
        let file = folder.join(format!("{name}.c"));
        std::fs::write(&file, source).expect("a source");
        let mut command = Command::new(&zig);
        command.args(["cc", "-target", processor.zig, "-Wall", "-Werror"]).arg(file);
        command.args(flags).arg("-o").arg(folder.join(name));
        let output = command.output().expect("run zig");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    };
    compile(RANDOM, "bcryptprimitives.dll", &["-shared", "-ladvapi32"]);
    compile(HOST, "host.exe", &["-municode"]);
    let prefix = folder.join("prefix");
    std::fs::create_dir(&prefix).expect("a folder");
    for (program, argument) in [(processor.loader, "wineboot"), (processor.server, "-w")] {
        let mut command = Command::new(processor.tool(program));
        processor.prepare(&mut command, &prefix);
        let status = command.arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(status.expect("run Wine").success(), "{program} {argument}");
    }
}
