//! A server whose clients leave their tokens, so that others can come with them.

use super::*;
use emitwire::testing::within;
use emitwire::{Chaos, ResumeToken, Session, Transport};

/// A server, and where clients leave their newest token.
pub(crate) struct House {
    pub(crate) server: Server,
    pub(crate) name: String,
    pub(crate) there: Diary,
    token: Arc<Mutex<Option<ResumeToken>>>,
}

impl House {
    pub(crate) async fn new(far: impl FnOnce(Namespace) -> Namespace) -> Self {
        let (there, name) = (Diary::default(), fresh_name());
        let server = Server::new().mount(far(there.keep("/"))).unwrap();
        let server = server.mount(Namespace::new("/other")).unwrap();
        server.listen(Memory::new(&*name)).await.unwrap();
        Self { server, name, there, token: Arc::default() }
    }

    /// A process of the client; all of them keep one diary.
    pub(crate) async fn process(&self, here: &Diary, token: Option<ResumeToken>) -> Session {
        self.process_on(Memory::new(&*self.name), here, token).await
    }

    /// As [`House::process`], on a wire of its own.
    pub(crate) async fn process_on(
        &self,
        wire: impl Transport,
        here: &Diary,
        token: Option<ResumeToken>,
    ) -> Session {
        let kept = Arc::clone(&self.token);
        let mut client = Client::new(wire)
            .mount(here.keep("/"))
            .mount(Namespace::new("/other"))
            .on_resume_token(move |token| *kept.lock().unwrap() = Some(token.clone()));
        if let Some(token) = token {
            client = client.resume_with(token);
        }
        within(client.connect()).await.unwrap()
    }

    /// A wire to it that can be broken.
    pub(crate) fn wire(&self) -> Chaos<Memory> {
        Chaos::new(Memory::new(&*self.name), 7)
    }

    pub(crate) fn newest(&self) -> ResumeToken {
        let token = self.token.lock().unwrap().clone().unwrap();
        // As it comes out of a file.
        token.to_string().parse().unwrap()
    }
}

/// What a killed process leaves: nothing says goodbye.
pub(crate) fn kill(session: Session) {
    std::mem::forget(session);
}
