"""What the programs in tools/ are made of. No other package imports this one."""
