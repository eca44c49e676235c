"""The laboratory: a Debian system with pure cgroup v2, systemd and AppArmor, in a virtual machine."""
