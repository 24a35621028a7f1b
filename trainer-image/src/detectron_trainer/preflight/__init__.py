"""What is wrong with a job, before it trains: every problem at once."""
