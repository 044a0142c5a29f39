"""The service proxy: pure rules, applied by nft in one atomic update a change."""
