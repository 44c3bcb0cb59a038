//! Planted bugs: the faults that the checkers must catch. Nothing of it is in a build without the feature.
