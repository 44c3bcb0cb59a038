//! Who is away is told: webhooks, browsers and devices, against servers that are not ours.

mod processes;
mod receiver;
mod webhooks;
