//! Programs of others, each run as a private child process: with its own folder, on a port of its own.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

/// A command for a program that `tests/run.sh` unpacks, or that is installed.
pub(crate) fn command(name: &str) -> Command {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/root/usr");
    for folder in ["sbin", "bin"] {
        let program = unpacked.join(folder).join(name);
        if program.exists() {
            let mut command = Command::new(program);
            let libraries = std::fs::read_dir(unpacked.join("lib")).into_iter().flatten().filter_map(Result::ok);
            let libraries: Vec<_> = libraries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
            command.env("LD_LIBRARY_PATH", std::env::join_paths(libraries).unwrap());
            return command;
        }
    }
    let installed = ["/usr/sbin", "/usr/bin"].iter().map(|folder| Path::new(folder).join(name));
    Command::new(installed.into_iter().find(|program| program.exists()).unwrap_or_else(|| name.into()))
}

/// nginx that logs in this format as `seen`; `FOLDER` in what its one server does is its own.
pub(crate) fn nginx(format: &str, server: &str) -> Server {
    let configure = |address: SocketAddr, folder: &Path| {
        let folder = folder.display();
        let server = server.replace("FOLDER", &folder.to_string());
        format!(
            "daemon off; master_process off; pid {folder}/pid;
             events {{ worker_connections 256; }}
             http {{
               log_format seen '{format}';
               client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
               uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
               server {{ listen {address}; {server} }}
             }}"
        )
    };
    let arguments = |folder: &Path| {
        let folder = folder.display();
        ["-e", "stderr", "-p", &format!("{folder}"), "-c", &format!("{folder}/config")].map(str::to_owned).to_vec()
    };
    Server::start("nginx", arguments, configure)
}

/// A server that runs until it is dropped, and what it writes.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) folder: TempDir,
    child: Child,
}

impl Server {
    /// Starts `name` with the configuration that `configure` makes of its address and folder, and waits until it
    /// listens. Its output is in `output` of its folder.
    pub(crate) fn start(
        name: &str,
        arguments: impl Fn(&Path) -> Vec<String>,
        configure: impl Fn(SocketAddr, &Path) -> String,
    ) -> Self {
        // The port is free, and somebody else may take it before the server does: then it ends.
        for _ in 0..5 {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let folder = TempDir::with_prefix(format!("cedargate-{name}-")).unwrap();
            std::fs::write(folder.path().join("config"), configure(address, folder.path())).unwrap();
            let output = File::create(folder.path().join("output")).unwrap();
            let mut command = command(name);
            command.args(arguments(folder.path())).current_dir(folder.path());
            command.stdout(output.try_clone().unwrap()).stderr(output);
            let child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}: run tests/run.sh"));
            let mut server = Self { address, folder, child };
            if server.listens() {
                return server;
            }
            eprintln!("{}", server.read("output"));
        }
        panic!("{name} does not start");
    }

    fn listens(&mut self) -> bool {
        for _ in 0..500 {
            if TcpStream::connect(self.address).is_ok() {
                return true;
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// What is in a file of its folder.
    pub(crate) fn read(&self, file: &str) -> String {
        std::fs::read(self.path(file))
            .map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
