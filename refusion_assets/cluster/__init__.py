"""The cluster: shards worked out on other machines."""
