"""The parts of the synthetic example; refusion_assets.example is the door."""
