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
}

impl Me {
    pub(crate) fn new(name: &str, socket: Socket) -> Self {
        Self { name: name.to_owned(), room: LOBBY.to_owned(), socket }
    }

    /// Says who it is on a connection that has begun: the first, or the next after a loss. Fails
    /// when it is refused, as when somebody has taken the name meanwhile.
    pub(crate) async fn begin(&mut self, socket: Socket) -> Result<(), BoxError> {
        let before = replace(&mut self.socket, socket).id();
        let greeting = if before == self.socket.id() { "welcome" } else { "back" };
        loop {
            match self.enter(&self.room, before.to_string()).await {
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

    async fn enter(&self, room: &str, before: String) -> Result<String, AckError> {
        let card = Card { name: self.name.clone(), room: room.to_owned(), before };
        let others: Vec<String> = self.socket.emit("enter", &card).ack().await?;
        let others = if others.is_empty() { "nobody else".to_owned() } else { others.join(", ") };
        Ok(format!("you are in {room}, with {others}"))
    }

    /// Nothing is kept for later: a line that cannot be sent now is shown as not sent.
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
                let place = self.enter(room, self.socket.id().to_string()).await?;
                self.room = room.to_owned();
                Ok(format!("* {place}"))
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
