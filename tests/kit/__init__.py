"""What tests share: data roots, timelines, senders, edits of rules, and the second calculation in memory."""
