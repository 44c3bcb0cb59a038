//! What a run of Synod has to keep, as pure functions over its history. No IO, no clock.
