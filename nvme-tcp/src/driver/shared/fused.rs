//! Fused operations: two commands that go out one after the other, with nothing between them.

use super::{CallGuard, DataFault, Error, Request, SharedQueue};
use crate::spec::completion::Cqe;

impl SharedQueue {
    /// Runs two commands that are one fused operation, and gives both completions to `done`. It waits until the
    /// queue has room for both, since a command between them would fail the operation.
    pub(crate) fn execute_fused(
        &self,
        pair: [Request<'_>; 2],
        mut done: impl FnMut(&Cqe, Option<DataFault>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut failed = None;
        // Before `state`, so that on unwinding the lock is free when this is dropped.
        let guard = CallGuard { queue: self, call: self.lock().begin_call() };
        let call = guard.call;
        let mut pair = Some(pair);
        let mut state = self.lock();
        if state.owners.len() < 2 {
            failed = Some(Error::invalid("a fused operation needs a queue of at least 3 entries"));
        }
        loop {
            failed = failed.or_else(|| state.dead.clone());
            if failed.is_none() && state.engine.room() >= 2 {
                for request in pair.take().into_iter().flatten() {
                    if let Err(error) = state.submit(call, request, self.timeout) {
                        failed = failed.or(Some(error));
                    }
                }
            }
            let flushed = state.flush();
            while let Some((_, outcome)) = state.calls[call].results.pop_front() {
                let result = outcome.and_then(|(cqe, fault)| done(&cqe, fault));
                failed = failed.or(result.err());
            }
            let submitted = failed.is_some() || pair.is_none();
            if submitted && state.calls[call].outstanding == 0 {
                break;
            }
            if state.calls[call].results.is_empty() && (submitted || state.engine.room() < 2) {
                state = self.wait(state, call, flushed);
            }
        }
        drop(state);
        drop(guard);
        failed.map_or(Ok(()), Err)
    }
}
