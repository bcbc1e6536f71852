//! A stand-in for a Riak KV 3.4 node, over its HTTP API: three replicas of each key, of which reads and writes ask a quorum, siblings
//! with dotted version vectors, and faults on purpose.
//!
//! It is harder on its clients than a node is: a read asks no more replicas than it must, so what reached only one is often
//! overlooked, and a range of keys is told by one replica of each.

mod answer;
mod faults;
mod node;
mod object;
mod replicas;
mod request;
mod tests;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

pub use self::faults::Faults;
use self::node::{LostReply, Node};

/// How the node holds to conditions of writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionalPut {
    /// They are checked, and then it is written: whoever checks meanwhile writes too, and there are siblings.
    Racing,
    /// One key's conditional writers come one after the other, each judged by a majority of the replicas.
    Token,
}

/// A node that serves on loopback until the last of its clones is dropped.
#[derive(Clone)]
pub struct RiakServer(Arc<Running>);

struct Running {
    node: Arc<Node>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl RiakServer {
    /// Serves on a free port, on a thread and a runtime of its own: those of the tests come and go.
    pub fn start(conditional: ConditionalPut) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a socket can be");
        let address = listener.local_addr().expect("it is bound");
        let node = Arc::new(Node::new(conditional));
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&node);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            // What is still being answered ends with the runtime.
            runtime.expect("a runtime").block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = serve(listener, serving) => {}
                }
            });
        });
        Self(Arc::new(Running { node, address, stop: Some(stop), thread: Some(thread) }))
    }

    /// Where it serves: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.0.address)
    }

    /// What goes wrong on purpose.
    pub fn faults(&self) -> &Faults {
        &self.0.node.faults
    }

    /// Sets a property of all bucket types. `n_val` is only told: there are three replicas.
    pub fn set_props(&self, name: &str, value: serde_json::Value) {
        self.0.node.props()[name] = value;
    }

    /// There is no such bucket type. There are all others.
    pub fn remove_type(&self, name: &str) {
        self.0.node.missing_types().insert(name.to_owned());
    }

    /// Loses the object on every replica, as failing disks do.
    pub fn forget(&self, bucket: &str, key: &str) {
        self.0.node.replicas().forget(bucket, key);
    }

    /// How many requests came, whatever became of them.
    pub fn requests(&self) -> u64 {
        self.0.node.requests()
    }

    /// Bucket and key of all that a read of all replicas would find.
    pub fn keys(&self) -> Vec<(String, String)> {
        self.0.node.replicas().live_keys()
    }

    /// How many values a read of all replicas would find, tombstones beside a value among them.
    pub fn siblings(&self, bucket: &str, key: &str) -> usize {
        let replicas = self.0.node.replicas();
        let live = replicas.whole(bucket, key).filter(|object| object.is_live());
        live.map(|object| object.siblings().len()).sum()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it ends");
        }
    }
}

async fn serve(listener: TcpListener, node: Arc<Node>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("it is in a runtime");
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, Arc::clone(&node)));
        }
    }
}

async fn converse(stream: TcpStream, node: Arc<Node>) {
    // Without it an answer waits for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let node = Arc::clone(&node);
        // A node ends what it has begun, also for an asker that has gone.
        let work = tokio::spawn(async move { node.serve(request).await });
        async move { work.await.unwrap_or(Err(LostReply)) }
    });
    let mut http = http1::Builder::new();
    http.title_case_headers(true);
    // An error is the end of the connection, by the client or on purpose.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}
