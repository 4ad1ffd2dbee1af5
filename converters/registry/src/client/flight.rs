//! One request for all who ask the same at the same time, and a way out of waiting for it.
//!
//! Converters are called on their task's own thread, which waits for a registry as it would wait for a
//! disk. The request itself runs on a thread of its own, so that a task that is told to stop leaves at
//! once: the request goes on, ends by its own deadline, and whoever else waits for it gets its answer.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use parking_lot::Mutex;

use super::http::{Answer, Http, Request, Unreachable};

/// What came of a request.
pub(crate) type Outcome = Result<Answer, Unreachable>;

/// Why somebody who waits goes on.
#[derive(Debug)]
enum Wake {
    Landed(Outcome),
    Interrupted,
}

/// Ends the waiting of everybody who waits with it, for good.
#[derive(Debug, Default)]
pub(crate) struct Interrupt(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    interrupted: bool,
    next: u64,
    doors: HashMap<u64, SyncSender<Wake>>,
}

impl Interrupt {
    /// Wakes all who wait; who comes later does not wait at all.
    pub(crate) fn interrupt(&self) {
        let mut waiting = self.0.lock();
        waiting.interrupted = true;
        for (_, door) in waiting.doors.drain() {
            // A full channel holds an answer already.
            drop(door.try_send(Wake::Interrupted));
        }
    }

    /// `None` if nobody may wait any more.
    fn enter(&self, door: SyncSender<Wake>) -> Option<Inside<'_>> {
        let mut waiting = self.0.lock();
        if waiting.interrupted {
            return None;
        }
        let number = waiting.next;
        waiting.next += 1;
        waiting.doors.insert(number, door);
        Some(Inside {
            interrupt: self,
            number,
        })
    }
}

/// Somebody waits.
struct Inside<'a> {
    interrupt: &'a Interrupt,
    number: u64,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.interrupt.0.lock().doors.remove(&self.number);
    }
}

/// The requests under way, by what they ask; each with those who wait for it.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<HashMap<Request, Vec<SyncSender<Wake>>>>);

impl Flights {
    /// Asks, or waits for somebody else's same question. `None` if it was interrupted.
    pub(crate) fn ask(
        self: &Arc<Self>,
        http: &Arc<Http>,
        request: Request,
        interrupt: &Interrupt,
    ) -> Option<Outcome> {
        // Room for both messages there can be, so that nobody waits to send one.
        let (door, wake) = sync_channel(2);
        let _inside = interrupt.enter(door.clone())?;
        self.join(http, request, door);
        wait(&wake)
    }

    fn join(self: &Arc<Self>, http: &Arc<Http>, request: Request, door: SyncSender<Wake>) {
        let is_first = {
            let mut flights = self.0.lock();
            let waiting = flights.entry(request.clone()).or_default();
            waiting.push(door);
            waiting.len() == 1
        };
        if !is_first {
            return;
        }
        let (flights, http, asked) = (Arc::clone(self), Arc::clone(http), request.clone());
        let thread = std::thread::Builder::new()
            .name("schema registry".to_owned())
            .spawn(move || {
                let outcome = catch_unwind(AssertUnwindSafe(|| http.ask_and_wait(&asked)));
                let outcome = outcome.unwrap_or_else(|_| {
                    Err(Unreachable("the request panicked, which is a bug".into()))
                });
                flights.land(&asked, &outcome);
            });
        if let Err(error) = thread {
            let reason = format!("no thread could be started: {error}");
            self.land(&request, &Err(Unreachable(reason)));
        }
    }

    /// How many wait for the answer to a request.
    #[cfg(test)]
    pub(crate) fn waiting(&self, request: &Request) -> usize {
        self.0.lock().get(request).map_or(0, Vec::len)
    }

    fn land(&self, request: &Request, outcome: &Outcome) {
        for door in self.0.lock().remove(request).unwrap_or_default() {
            // Who has left does not want it.
            drop(door.try_send(Wake::Landed(outcome.clone())));
        }
    }
}

fn wait(wake: &Receiver<Wake>) -> Option<Outcome> {
    match wake.recv() {
        Ok(Wake::Landed(outcome)) => Some(outcome),
        Ok(Wake::Interrupted) | Err(_) => None,
    }
}
