//! The disks of a run: one loop-mounted image a node, and what can go wrong with a disk.
