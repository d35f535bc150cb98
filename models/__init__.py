"""Models of Interval, usable without the node: encoder, shared code, and the bundles that ship."""
