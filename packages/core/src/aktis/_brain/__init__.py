"""Pure state machines: events and the time go in, commands come out. No sockets, threads, clocks or randomness."""
