"""Money of weeks: claims split, rates found, rows priced, maxima kept, fleksbidrag worked out."""
