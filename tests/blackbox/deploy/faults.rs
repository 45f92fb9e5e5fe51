//! What goes wrong in a whole system: a front or a website that restarts, is late or is away.
