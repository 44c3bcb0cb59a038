//! Who is away is told: webhooks, browsers and devices, against servers that are not ours.

mod browsers;
mod devices;
mod processes;
mod receiver;
mod webhooks;
