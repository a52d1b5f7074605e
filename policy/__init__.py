"""What an organisation's policy allows: pure, synchronous, without I/O or clock."""
