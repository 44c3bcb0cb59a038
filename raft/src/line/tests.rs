//! Tests of the line.
