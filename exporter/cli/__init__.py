"""The command line: flags, logging, exit codes, and how the modules are wired together."""
