//! A TCP relay that can be cut and mended: a database that goes away and comes back.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) struct Cut {
    pub(crate) address: SocketAddr,
    whole: watch::Sender<bool>,
    _connections: Arc<Mutex<Vec<tokio::task::JoinHandle<()>>>>,
}

impl Cut {
    /// Relays to `target`.
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (whole, state) = watch::channel(true);
        let connections = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut state = state.clone();
                if *state.borrow() {
                    kept.lock().unwrap().push(tokio::spawn(async move {
                        tokio::select! {
                            () = relay(client, target) => {}
                            _ = state.wait_for(|whole| !*whole) => {}
                        }
                    }));
                }
            }
        });
        Self { address, whole, _connections: connections }
    }

    /// Closes every connection, and each new one at once.
    pub(crate) fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.whole.send_replace(true);
    }
}

async fn relay(mut client: TcpStream, target: SocketAddr) {
    if let Ok(mut server) = TcpStream::connect(target).await {
        let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    }
}
