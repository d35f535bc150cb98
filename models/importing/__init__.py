"""From a published checkpoint to an installed bundle. Only the package `convert` imports torch."""
