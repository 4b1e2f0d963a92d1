//! The one who types: each line becomes an event, and what becomes of that is shown.

use crate::join::fate;
use crate::{Card, LOBBY, show};
use emitwire::EmitError::{Closed, Draining};
use emitwire::{AckError, Args, BoxError, Socket};
use std::mem::replace;

const HELP: &str = "\
/join ROOM       to another room        /leave   back to the lobby
/to NAME TEXT    to one of them alone   /who     who is here, where, and by which wire
/quit            goodbye                and anything else is said to the room";

pub(crate) struct Me {
    name: String,
    room: String,
    socket: Socket,
    /// Sockets that were lost since the last answer.
    before: Vec<String>,
}

impl Me {
    pub(crate) fn new(name: &str, socket: Socket) -> Self {
        Self { name: name.to_owned(), room: LOBBY.to_owned(), socket, before: Vec::new() }
    }

    /// Says who it is in a session that has begun: the first, or the next after a loss. Fails
    /// when it is refused, as when somebody has taken the name meanwhile.
    pub(crate) async fn begin(&mut self, socket: Socket) -> Result<(), BoxError> {
        let last = replace(&mut self.socket, socket).id();
        let greeting = if last == self.socket.id() { "welcome" } else { "back" };
        self.before.push(last.to_string());
        loop {
            match self.enter(self.room.clone()).await {
                Ok(place) => show(&format!("* {greeting}, {}: {place}", self.name)),
                Err(AckError::Timeout { after }) => {
                    show(&format!("! no answer within {after:?}, trying again"));
                    continue;
                }
                Err(AckError::Closed | AckError::Emit(Closed { .. } | Draining)) => {} // lost again
                Err(error) => return Err(fate(error).into()),
            }
            return Ok(());
        }
    }

    async fn enter(&mut self, room: String) -> Result<String, AckError> {
        let (name, before) = (self.name.clone(), self.before.clone());
        let card = Card { name, room, before };
        let others: Vec<String> = self.socket.emit("enter", &card).ack().await?;
        (self.room, self.before) = (card.room, Vec::new());
        let others = if others.is_empty() { "nobody else".to_owned() } else { others.join(", ") };
        Ok(format!("you are in {}, with {others}", self.room))
    }

    /// While the server cannot be reached a line waits; one that nobody will hear is shown as such.
    pub(crate) async fn type_in(&mut self, line: &str) {
        match self.answer(line).await {
            Ok(answer) => answer.lines().for_each(show),
            Err(error) => show(&format!("! `{line:.60}`: {}", fate(error))),
        }
    }

    async fn answer(&mut self, line: &str) -> Result<String, AckError> {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim_start();
        match command {
            "" => Ok(String::new()),
            "/help" => Ok(HELP.to_owned()),
            "/join" | "/leave" => {
                let room = if command == "/join" { rest } else { LOBBY };
                Ok(format!("* {}", self.enter(room.to_owned()).await?))
            }
            "/who" => {
                let all: Vec<(String, String, String)> = self.socket.emit("who", &()).ack().await?;
                let line = |(name, room, wire): &_| format!("  {name} is in {room}, by {wire}");
                Ok(all.iter().map(line).collect::<Vec<_>>().join("\n"))
            }
            "/to" => match rest.split_once(' ') {
                Some(to) => self.socket.emit("tell", &Args(to)).ack().await.map(|()| String::new()),
                None => Ok("! it needs a name and a text".to_owned()),
            },
            _ if command.starts_with('/') => Ok(format!("! there is no {command}; see /help")),
            _ => match self.socket.emit("say", line).ack::<usize>().await? {
                0 => Ok("* nobody else is here".to_owned()),
                _ => Ok(String::new()),
            },
        }
    }
}
