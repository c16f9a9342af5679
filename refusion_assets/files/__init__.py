"""Files: raw files from the senders, outgoing files to the municipalities, and the files of an estimate."""
