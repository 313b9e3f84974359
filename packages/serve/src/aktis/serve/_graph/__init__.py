"""From what the user bound to what the controller runs: nodes, their specs, their versions."""
