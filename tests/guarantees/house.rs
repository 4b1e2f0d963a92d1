//! A server that can be killed: it has a runtime of its own.

use crate::books::Effects;
use crate::support::{endpoint, within};
use emitwire::{Config, Data, Layers, Nak, Namespace, Server};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// How long a handler takes behind its effect, so that a kill finds some in the middle.
const HANDLING: Duration = Duration::from_millis(3);

pub(crate) struct House {
    pub(crate) server: Server,
    pub(crate) url: String,
    runtime: Option<Runtime>,
}

/// `order` has its effect and answers; `flaky` fails the first time, before it has one; `slow`
/// answers late; `twice` has its effect, and then fails the first time.
fn orders(effects: &Effects) -> Namespace {
    let [order, flaky, slow, twice] = [(); 4].map(|()| effects.clone());
    let (failed, halted) = (Arc::default(), Arc::default());
    Namespace::new("/")
        .concurrent(8)
        .on("order", move |Data(number): Data<u64>| {
            order.have(number);
            async { tokio::time::sleep(HANDLING).await }
        })
        .on("flaky", move |Data(number): Data<u64>| {
            let result = if first(&failed, number) { Err(Nak::Failed) } else { Ok(()) };
            if result.is_ok() {
                flaky.have(number);
            }
            async move { result }
        })
        .on("slow", move |Data(number): Data<u64>| {
            slow.have(number);
            async { tokio::time::sleep(Duration::from_millis(400)).await }
        })
        .on("twice", move |Data(number): Data<u64>| {
            twice.have(number);
            let result = if first(&halted, number) { Err(Nak::Failed) } else { Ok(()) };
            async move { result }
        })
}

fn first(seen: &Arc<Mutex<HashSet<u64>>>, number: u64) -> bool {
    seen.lock().unwrap().insert(number)
}

impl House {
    /// Listens at `url`; it waits for the one before to be gone.
    pub(crate) async fn open(url: &str, config: Config, layers: Layers, effects: &Effects) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let namespace = orders(effects);
        let (address, mounted) = (url.to_owned(), Server::with_config(config).layers(layers));
        let opening = runtime.spawn(async move {
            let server = mounted.mount(namespace).unwrap();
            loop {
                match server.listen(endpoint(&address)).await {
                    Ok(listening) => return (server, listening.endpoint().to_owned()),
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        });
        let (server, url) = within(opening).await.unwrap();
        Self { server, url, runtime: Some(runtime) }
    }

    /// Nothing of it runs any more, and nobody is told.
    pub(crate) fn kill(mut self) -> String {
        self.end();
        std::mem::take(&mut self.url)
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.end();
    }
}
