//! Listening sockets that another process has opened: the one before this, or systemd.
//!
//! ## Why
//! A socket that is handed over is never closed, so that no connection which waits in its queue is lost.

use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, bail};
use listenfd::ListenFd;

use super::listen::bind;

/// How systemd's units may call them (`FileDescriptorName=`), and the settings that they stand for.
const NAMES: [(&str, &str); 4] = [
    ("gateway", "gateway.listen"),
    ("redirect", "gateway.redirect_listen"),
    ("admin", "admin.listen"),
    ("metrics", "metrics.listen"),
];

/// One that was handed over.
#[derive(Debug)]
struct Inherited {
    /// Whom it is for; `None` for whoever listens at its address.
    setting: Option<String>,
    /// The address that was asked for when it was opened; `None` where that is not for us to say.
    asked: Option<SocketAddr>,
    listener: TcpListener,
}

/// Sockets that were handed over, until they are taken.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    inherited: Vec<Inherited>,
    /// Copies of what is listened on, for a process after this.
    open: Vec<Open>,
}

/// A socket that is listened on.
#[derive(Debug)]
pub(super) struct Open {
    /// The setting that says so.
    pub(super) setting: &'static str,
    /// What the setting asked for.
    pub(super) asked: SocketAddr,
    pub(super) listener: TcpListener,
}

impl Sockets {
    /// Those of systemd, by the names they have there.
    pub(super) fn activated(mut fds: ListenFd, names: &[&str]) -> anyhow::Result<Self> {
        let mut inherited = Vec::new();
        for index in 0..fds.len() {
            let name = names.get(index).copied().unwrap_or_default();
            let taken = fds.take_tcp_listener(index).with_context(|| format!("socket {name:?} that was passed on"))?;
            let Some(listener) = taken else { continue };
            let setting = NAMES.iter().find(|(own, _)| *own == name).map(|(_, setting)| (*setting).to_owned());
            inherited.push(Inherited { setting, asked: None, listener });
        }
        Ok(Self { inherited, open: Vec::new() })
    }

    /// One of the process before this.
    pub(super) fn add(&mut self, setting: String, asked: SocketAddr, listener: TcpListener) {
        self.inherited.push(Inherited { setting: Some(setting), asked: Some(asked), listener });
    }

    /// The socket for `setting`, which asks for `address`: one that was handed over, else a new one.
    pub(super) fn listen(&mut self, address: SocketAddr, setting: &'static str) -> anyhow::Result<TcpListener> {
        let listener = match self.take(address, setting) {
            Some(listener) => listener,
            None => bind(address, setting)?,
        };
        listener.set_nonblocking(true)?;
        let copy = listener.try_clone().with_context(|| format!("{setting}: cannot be kept"))?;
        self.open.push(Open { setting, asked: address, listener: copy });
        Ok(listener)
    }

    fn take(&mut self, address: SocketAddr, setting: &str) -> Option<TcpListener> {
        let is_wanted = |one: &Inherited| match (&one.setting, one.asked) {
            (Some(own), Some(asked)) => own == setting && asked == address,
            (Some(own), None) => own == setting,
            (None, _) => one.listener.local_addr().is_ok_and(|there| is_at(there, address)),
        };
        let index = self.inherited.iter().position(is_wanted)?;
        Some(self.inherited.swap_remove(index).listener)
    }

    /// Closes what nobody has taken, and returns copies of what is listened on.
    ///
    /// # Errors
    /// One of systemd's is left: it stays open there, and who connects to it would wait for nobody.
    pub(super) fn settle(self) -> anyhow::Result<Vec<Open>> {
        for one in self.inherited {
            let address = one.listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
            if one.asked.is_none() {
                bail!(
                    "{address}: this socket was passed on (LISTEN_FDS), and no setting has use for it, or has another \
                     of its name"
                );
            }
            tracing::warn!(address, "a socket that was handed over is not in the settings; it is closed");
        }
        Ok(self.open)
    }
}

/// Whether a socket that is open at `there` is what was asked for.
fn is_at(there: SocketAddr, asked: SocketAddr) -> bool {
    there == asked || (there.port() == asked.port() && there.ip().is_unspecified() && asked.ip().is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_taken_by_setting_or_by_address() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let open = || TcpListener::bind(any).unwrap();
        let (gateway, admin, plain) = (open(), open(), open());
        let at = |listener: &TcpListener| listener.local_addr().unwrap();
        let addresses = (at(&gateway), at(&admin), at(&plain));
        let mut sockets = Sockets::default();
        sockets.add("gateway.listen".to_owned(), any, gateway);
        sockets.add("admin.listen".to_owned(), addresses.1, admin);
        sockets.inherited.push(Inherited { setting: None, asked: None, listener: plain });
        assert_eq!(at(&sockets.listen(any, "gateway.listen").unwrap()), addresses.0);
        assert_eq!(at(&sockets.listen(addresses.2, "metrics.listen").unwrap()), addresses.2);
        // Another address was asked for than is now.
        assert_ne!(at(&sockets.listen(any, "admin.listen").unwrap()), addresses.1);
        assert_eq!(sockets.inherited.len(), 1);
        assert_eq!(sockets.settle().unwrap().len(), 3);
    }

    #[test]
    fn a_socket_of_systemd_that_nobody_takes_is_refused() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        for setting in [None, Some("admin.listen"), Some("gateway.listen")] {
            let mut sockets = Sockets::default();
            for setting in [Some("gateway.listen"), setting] {
                let (setting, listener) = (setting.map(str::to_owned), TcpListener::bind(any).unwrap());
                sockets.inherited.push(Inherited { setting, asked: None, listener });
            }
            sockets.listen(any, "gateway.listen").unwrap();
            let left = sockets.inherited[0].listener.local_addr().unwrap();
            let told = sockets.settle().unwrap_err().to_string();
            assert!(told.starts_with(&format!("{left}: this socket was passed on")), "{told}");
        }
    }

    #[test]
    fn unspecified_addresses_of_one_port_are_alike() {
        let is = |there: &str, asked: &str| is_at(there.parse().unwrap(), asked.parse().unwrap());
        assert!(is("[::]:80", "0.0.0.0:80") && is("127.0.0.1:80", "127.0.0.1:80"));
        assert!(!is("127.0.0.1:80", "0.0.0.0:80") && !is("[::]:81", "[::]:80"));
    }
}
