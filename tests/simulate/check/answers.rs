//! Each ack ends once, and truly.

use super::view::{Accepted, View};
use super::{Breach, breach};
use crate::ears::reply_to;
use crate::history::{Answer, Fate, Kind, Receipt, Side};
use std::collections::BTreeMap;

pub(super) fn each_ends_once(view: &View<'_>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (of, it) in view.reliable() {
        let wanted = usize::from(it.wants_ack);
        let ended = it.answers.len();
        if wanted != ended {
            breaches.push(breach(format!("{wanted} wanted, {ended} came"), Some(of)));
        }
    }
    breaches
}

pub(super) fn are_true(view: &View<'_>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (of, it) in view.reliable() {
        for answer in &it.answers {
            let is_true = match answer {
                Answer::Reply(reply) => *reply == reply_to(of.0) && it.finished >= 1,
                // A process that was killed may have handled it.
                Answer::Refused(_) => {
                    it.finished == 0 || it.kind == Kind::Fail || view.killed(of.1) > 0
                }
                Answer::NotAccepted => !matches!(it.accepted, Accepted::At(_)),
                Answer::Lost => it.starts.is_empty(),
                Answer::Timeout => !view.is_of_calm(it),
                Answer::Closed => true,
                Answer::Unreadable => false,
            };
            if !is_true {
                breaches.push(breach(format!("{answer:?}, {} finished", it.finished), Some(of)));
            }
        }
    }
    breaches
}

/// Waiting until the peer has an event ends once, and truly.
pub(super) fn receipts_are_true(view: &View<'_>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (of, it) in view.reliable() {
        let is_accepted = matches!(it.accepted, Accepted::At(_));
        let is_true = match it.receipts[..] {
            [] => !it.wants_receipt,
            [Receipt::Received] => {
                is_accepted && !it.fates.contains(&Fate::Lost) && !it.fates.contains(&Fate::InDoubt)
            }
            [Receipt::Lost] => is_accepted && it.starts.is_empty(),
            [Receipt::InDoubt] => is_accepted && !it.fates.contains(&Fate::Lost),
            [Receipt::NotAccepted] => !is_accepted,
            [Receipt::Timeout] => !view.is_of_calm(it),
            _ => false,
        };
        if !is_true {
            let words = format!("{:?}, {:?}, {} starts", it.receipts, it.fates, it.starts.len());
            breaches.push(breach(words, Some(of)));
        }
    }
    breaches
}

/// An ack for which nobody waits is one that somebody has given up.
pub(super) fn none_twice(view: &View<'_>) -> Vec<Breach> {
    let mut given_up: BTreeMap<Side, u64> = BTreeMap::new();
    for (_, it) in view.reliable() {
        let is_given_up = |answer: &&Answer| matches!(answer, Answer::Timeout | Answer::Closed);
        *given_up.entry(it.from).or_default() +=
            it.answers.iter().filter(is_given_up).count() as u64;
    }
    let mut breaches = Vec::new();
    for (side, totals) in &view.totals {
        let (unasked, given_up) = (totals.unasked, given_up.get(side).copied().unwrap_or_default());
        if unasked > given_up {
            let words = format!("{side}: {unasked} came unasked, {given_up} were given up");
            breaches.push(breach(words, None));
        }
    }
    breaches
}
