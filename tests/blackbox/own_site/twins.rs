//! nginx and a server half of ours on the same port of two addresses, with the same website.

use crate::support::backend::Backend;
use crate::support::child::Child;
use crate::support::plugin::{Vars, our_path, start};
use crate::support::ports::free_port;
use crate::support::tempdir::TempDir;
use crate::support::{STEP, eventually, noise, peers};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Size of `/big.bin`.
pub const BIG: usize = 20 * 1024 * 1024;

/// Both, in front of nothing else.
pub struct Twins {
    pub nginx: SocketAddr,
    pub ours: SocketAddr,
    pub child: Child,
    pub backend: Backend,
    _nginx: Child,
    _dir: TempDir,
}

impl Twins {
    /// `server` is what stands in nginx's server block, `options` the options of ours.
    #[track_caller]
    pub fn start(server: &str, options: &str) -> Twins {
        Twins::start_with("", server, options)
    }

    /// The same, with words behind nginx's `listen`.
    #[track_caller]
    pub fn start_with(listen: &str, server: &str, options: &str) -> Twins {
        // The port is part of what is compared, so it is the same; ours has to be first, since a port is
        // looked for and not an address.
        let port = free_port();
        let backend = Backend::echo();
        let local = (backend.addr.ip().to_string(), backend.addr.port());
        let options = format!("server;{options}");
        let vars = Vars { remote: ("127.0.0.2".to_owned(), port), local, options };
        let child = start("our own website", our_path(), &vars, port).child;
        let (nginx, dir) = nginx(port, listen, server);
        let [ours, theirs] = ["127.0.0.2", "127.0.0.1"].map(|ip| SocketAddr::new(ip.parse().unwrap(), port));
        let up = eventually(STEP, || nginx.peek_exit().is_some() || TcpStream::connect(theirs).is_ok());
        assert!(up && nginx.peek_exit().is_none(), "{}", nginx.show_log());
        Twins { nginx: theirs, ours, child, backend, _nginx: nginx, _dir: dir }
    }
}

fn nginx(port: u16, listen: &str, server: &str) -> (Child, TempDir) {
    let dir = TempDir::new("twin");
    let root = dir.path().display();
    // As root, nginx would drop to a user who cannot read the files of the test.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let config = format!(
        r#"
worker_processes 1; daemon off; pid {root}/pid; error_log {root}/error.log; {user}
events {{ worker_connections 900; }}
http {{
  access_log off; server_tokens off;
  client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fcgi;
  uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
  include {types};
  default_type application/octet-stream;
  server {{ listen 127.0.0.1:{port} {listen} backlog=1024; {server} }}
}}
"#,
        types = TYPES,
    );
    let file = dir.write("nginx.conf", config);
    let mut command = Command::new(peers::path("nginx"));
    command.arg("-c").arg(file).arg("-e").arg(dir.path().join("error.log"));
    (Child::spawn("nginx (the twin)", command), dir)
}

/// nginx's own table of types.
pub const TYPES: &str = "/etc/nginx/mime.types";

/// A folder with a website, and other things that may lie there.
pub struct Folder {
    pub dir: TempDir,
    pub root: PathBuf,
}

impl Folder {
    pub fn new() -> Folder {
        let dir = TempDir::new("folder");
        let root = dir.path().join("root");
        dir.write("outside.txt", "outside\n");
        dir.write("root/index.html", "<!doctype html>\n<title>A shop for garden chairs</title>\n");
        dir.write("root/style.css", "h1 { color: green }\n".repeat(400));
        dir.write("root/empty.txt", "");
        dir.write("root/noise.bin", noise(300_000, 3));
        dir.write("root/big.bin", noise(BIG, 20));
        dir.write("root/shop/index.html", "the shop\n");
        dir.write("root/without/x.txt", "x\n");
        dir.write("root/odd/index.html/x.txt", "x\n");
        dir.write("root/a b/c'd.txt", "spaces\n");
        dir.write("root/\"q\" ü{}%/x.txt", "signs\n");
        dir.write("root/.hidden", "hidden\n");
        dir.write("root/..html", "dots\n");
        dir.write("root/UPPER.HTML", "upper\n");
        dir.write("root/a+b;c=d,e@f&g.txt", "signs\n");
        dir.write("root/no-ending", "none\n");
        let link = |target: &str, name: &str| symlink(target, root.join(name)).expect("a link");
        link("style.css", "link.css");
        link("shop", "linked");
        link("../outside.txt", "out.txt");
        link("..", "up");
        link("/etc", "etc");
        link("loop", "loop");
        let fifo = root.join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .expect("a FIFO");
        // Whole seconds and others.
        let old = std::time::UNIX_EPOCH + std::time::Duration::from_millis(784_111_777_900);
        let file = std::fs::File::options().write(true).open(root.join("style.css")).expect("a file");
        file.set_modified(old).expect("set a time");
        Folder { dir, root }
    }

    /// The twins that serve it.
    #[track_caller]
    pub fn twins(&self, more: &str) -> Twins {
        let root = self.root.display();
        Twins::start(&format!("root {root};"), &format!("failover=dir:{root}{more}"))
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.root.join(Path::new(name))).expect("a file of the folder")
    }
}
