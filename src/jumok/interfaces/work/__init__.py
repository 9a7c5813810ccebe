"""What the commands do, without printing: a request in, records out; a file for each kind."""
