"""Why a month came out as it did: what is told of a person, and the Danish words for it."""
