//! A TCP relay that can be cut and mended: a database that goes away or hangs, and comes back.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Whole,
    Cut,
    Hung,
}

pub(crate) struct Cut {
    pub(crate) address: SocketAddr,
    state: watch::Sender<State>,
}

impl Cut {
    /// Relays to `target`.
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, state) = watch::channel(State::Whole);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, target, state.clone()));
            }
        });
        Self { address, state: sender }
    }

    /// Closes every connection, and each new one at once.
    pub(crate) fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Keeps every connection, and each new one, and lets nothing through.
    pub(crate) fn hang(&self) {
        self.state.send_replace(State::Hung);
    }

    /// Relays again; connections that hung are closed.
    pub(crate) fn mend(&self) {
        self.state.send_replace(State::Whole);
    }
}

async fn serve(mut client: TcpStream, target: SocketAddr, mut state: watch::Receiver<State>) {
    let mut server = None;
    if *state.borrow() == State::Whole {
        let Ok(connected) = TcpStream::connect(target).await else { return };
        let server = server.insert(connected);
        tokio::select! {
            _ended = tokio::io::copy_bidirectional(&mut client, server) => return,
            _ = state.wait_for(|state| *state != State::Whole) => {}
        }
    }
    // Both sides stay open for as long as it hangs.
    let _mended = state.wait_for(|state| *state != State::Hung).await;
    drop((client, server));
}
