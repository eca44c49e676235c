"""What the tests share: bundles, runtimes, terminals, and a look for what was left behind."""
