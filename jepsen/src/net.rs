//! The network of a run: a bridge in a namespace of its own, and one link from it to every host.
