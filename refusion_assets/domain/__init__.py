"""The law as pure functions: frames in, frames out, rules and dates as arguments."""
